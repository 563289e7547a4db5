// SIGKILL at any moment leaves the last complete checkpoint loadable. kill50.ts does it fifty times.
import { expect } from 'chai';
import { killOnce } from './kill';
import { withFolder } from './support';

describe('a run that is killed', () => {
  for (let i = 0; i < 3; i++) {
    it(`leaves a checkpoint to resume from (${i + 1})`, async () => {
      await withFolder(async (dir) => {
        expect(await killOnce(dir, 300)).to.be.at.least(1);
      });
    });
  }
});
