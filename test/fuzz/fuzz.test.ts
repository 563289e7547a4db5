// A few seconds of random programs. The seed stands here, so that a failure shows up again wherever the same code runs;
// the sanitizer's run in continuous integration takes a new one every day.
import { expect } from 'chai';
import { devices } from '../../lib';
import { type FoundFault, runPrograms } from './runner';

const SEED = 20260101;
const PROGRAMS = 400;

describe('random programs', () => {
  for (const { device } of devices().filter((d) => d.available && (d.device === 'js' || d.device === 'cpu'))) {
    it(`${PROGRAMS} of them on ${device}, seed ${SEED}`, async function () {
      this.timeout(120_000);
      const choice = { only: [], without: [], verbose: false };
      const { programs, faults } = await runPrograms({ seed: SEED, programs: PROGRAMS, device, ...choice });
      const again = ({ number }: FoundFault): string =>
        `npm run fuzz -- --seed ${SEED} --program ${number} --device ${device}`;
      expect(faults.map((fault) => `${fault.message}\n${fault.listing ?? ''}\n${again(fault)}`).join('\n\n')).to.equal(
        '',
      );
      expect(programs).to.equal(PROGRAMS);
    });
  }
});
