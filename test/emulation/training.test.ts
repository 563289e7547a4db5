// Training on the emulated card: the losses of the cpu device, and runs that go on exactly where they were stopped.
import { expect } from 'chai';
import { join } from 'node:path';
import { type RunDtype } from '../../lib/train';
import { withFolder } from '../train/support';
import { describeEmulated, runOnCard } from './support';

export interface Outcome {
  losses: number[];
  failure?: { code: string; message: string };
  step: number;
  from?: number;
  rest?: number[];
}

const TRAINEE = join(__dirname, 'trainee.ts');
const CLOSE: Record<RunDtype, number> = { float32: 1e-4, bfloat16: 2e-2 };

async function train(card: string, ...args: string[]): Promise<Outcome> {
  const { code, stdout, stderr } = await runOnCard([TRAINEE, ...args], card);
  expect(code, stderr).to.equal(0);
  return JSON.parse(stdout) as Outcome;
}

function expectCloseLosses(found: number[], expected: number[], tolerance: number): void {
  expect(found).to.have.lengthOf(expected.length);
  found.forEach((loss, i) => expect(loss, `step ${i + 1}`).to.be.closeTo(expected[i], tolerance * expected[i]));
}

describeEmulated('training on the emulated card', function () {
  this.timeout(120_000);

  for (const dtype of ['float32', 'bfloat16'] as const) {
    it(`${dtype}: the losses of the cpu device; a stopped run goes on exactly`, async () => {
      await withFolder(async (dir) => {
        const cpu = await train('', join(dir, 'cpu'), 'cpu', dtype);
        const whole = await train('', join(dir, 'whole'), 'cuda-emulation', dtype);
        expectCloseLosses(whole.losses, cpu.losses, CLOSE[dtype]);
        expect(cpu.losses[5]).to.not.equal(cpu.losses[0]);
        const { losses, from, rest } = await train('', join(dir, 'parts'), 'cuda-emulation', dtype, '3');
        expect([...losses.slice(0, from), ...rest!]).to.deep.equal(whole.losses);
      });
    });
  }

  it('a launch that fails ends the run with an error; its last checkpoint goes on on another device', async () => {
    await withFolder(async (dir) => {
      const cpu = await train('', join(dir, 'cpu'), 'cpu', 'float32');
      const found = await train('failLaunch=300', join(dir, 'run'), 'cuda-emulation', 'float32', '99', 'cpu');
      expect(found.failure?.code).to.equal('BACKEND');
      expect(found.failure?.message).to.match(/illegal memory access/);
      expect(found.from).to.be.within(1, 5);
      expectCloseLosses(found.rest!, cpu.losses.slice(found.from), CLOSE.float32);
    });
  });
});
