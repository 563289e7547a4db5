// A few seconds of random programs and of mutated folders. The seed stands here, so that a failure shows up again wherever the same code runs;
// the sanitizer's run in continuous integration takes a new one every day.
import { expect } from 'chai';
import { devices } from '../../lib';
import { type FoundFault, runPrograms } from './runner';

const SEED = 20260101;
const SAMPLES = [
  { what: 'programs', title: 'random programs', count: 400 },
  { what: 'folders', title: 'mutated model folders', count: 50 },
] as const;

for (const { what, title, count } of SAMPLES) {
  describe(title, () => {
    for (const { device } of devices().filter((d) => d.available && (d.device === 'js' || d.device === 'cpu'))) {
      it(`${count} of them on ${device}, seed ${SEED}`, async function () {
        this.timeout(120_000);
        const choice = { only: [], without: [], verbose: false };
        const { programs, faults } = await runPrograms({ what, seed: SEED, programs: count, device, ...choice });
        const again = ({ number }: FoundFault): string =>
          `npm run fuzz --${what === 'folders' ? ' --folders' : ''} --seed ${SEED} --program ${number} --device ${device}`;
        const found = faults.map((fault) => `${fault.message}\n${fault.listing ?? ''}\n${again(fault)}`);
        expect(found.join('\n\n')).to.equal('');
        expect(programs).to.equal(count);
      });
    }
  });
}
