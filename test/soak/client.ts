// The load of the soak in a process of its own, so that the service's thread feels only its own work: gets what kind of service
// it is, its address and the number of conversations, sends a report when it is told to stop.
import { setPriority } from 'node:os';
import { load } from './load';
import { loadServer } from './serverLoad';

// Stands for other machines: it takes what the service leaves.
setPriority(19);
const controller = new AbortController();
process.on('message', () => controller.abort());
process.on('disconnect', () => process.exit(1));
// Ctrl-C goes to the whole group; who started this says when to stop.
process.on('SIGINT', () => undefined);
const [kind, url, conversations] = process.argv.slice(2);
void (kind === 'server' ? loadServer : load)(url, Number(conversations), controller.signal).then((report) => {
  process.send!(report, () => process.exit(0));
});
