// The process that loads mutated folders, as worker.ts runs programs: the same task, the same messages.
import { writeSync } from 'node:fs';
import type { Counts, Message, Task } from '../worker';
import { checkFolder, describeFolder, makeFolder } from './check';

const say = (message: Message): void => void writeSync(3, JSON.stringify(message) + '\n');

async function main(task: Task): Promise<void> {
  const kinds: Counts = {};
  for (let number = task.first; number < task.end; number++) {
    say({ at: number });
    const made = await makeFolder(task.seed, number, task);
    if (task.verbose) console.log(describeFolder(made));
    try {
      const outcome = await checkFolder(made, task.device);
      if (task.verbose) console.log(outcome);
      for (const kind of ['folders', ...made.changes.map((change) => change.kind)]) {
        kinds[kind] ??= { run: 0, refused: 0 };
        kinds[kind].run++;
        if (outcome === 'refused') kinds[kind].refused++;
      }
    } catch (error) {
      say({ fault: number, message: (error as Error).message, listing: describeFolder(made) });
    }
  }
  say({ kinds });
}

void main(JSON.parse(process.argv[2]) as Task);
