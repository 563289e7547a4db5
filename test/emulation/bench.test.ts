// `npm run bench -- cuda` on the emulated card: cases run, are checked, and their figures marked as meaningless.
import { expect } from 'chai';
import { readJson, run, root, temporaryFolder } from '../package/sandbox';
import { onEmulation } from './device';

interface Report {
  suite: string;
  notes: string[];
  machine: { card: { name: string } };
  results: { name: string; numbers: string; median: number; share: number | null; worst: { error: number } }[];
}

if (onEmulation) {
  describe('the benchmark of the cuda device', function () {
    this.timeout(120_000);
    const at = temporaryFolder();

    for (const name of ['launch/queued', 'forward/gated-delta/4x2048/d64', 'step/delta/64']) {
      it(name, () => {
        const options = ['cuda', '--quick', `--filter=${name}`, `--json=${at('figures.json')}`];
        const { status, output } = run(root, process.execPath, ['--import=tsx', 'bench/main.ts', ...options], {
          FAST_WEIGHTS_DEVICE: 'cuda-emulation',
        });
        expect(status, output).to.equal(0);
        const { suite, notes, machine, results } = readJson<Report>(at('figures.json'));
        expect(suite).to.equal('cuda');
        expect(machine.card.name).to.include('Emulated card');
        expect(notes[0]).to.include('mean NOTHING');
        const { numbers, median, share, worst } = results.find((result) => result.name === name)!;
        expect(numbers).to.equal('float32');
        expect(median).to.be.greaterThan(0);
        expect(worst.error).to.be.at.most(1e-5);
        if (name.startsWith('launch')) expect(share).to.equal(null);
        else expect(share).to.be.greaterThan(0);
      });
    }
  });
}
