// The operator that made the first NaN.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';

for (const device of ['cpu', 'js'] as const) {
  describe(`detectAnomaly on ${device}`, () => {
    const leaf = (...data: number[]): fw.Tensor => fw.tensor(data, { device, requiresGrad: true });
    /** A call of its own, whose name the message holds. */
    const logarithm = (x: fw.Tensor): fw.Tensor => x.log();

    it('names the operator whose result holds NaN, and where it was called', () => {
      fw.scope(() => {
        const x = leaf(1, -1);
        const error = expectError('GRAPH', /detectAnomaly: the result of log holds NaN/, () =>
          fw.detectAnomaly(() => logarithm(x.transpose(0, 0)).mul(2)),
        );
        expect(error.argument).to.equal('log');
        expect(error.message).to.match(/logarithm .*anomaly\.test\.[jt]s/);
        expect(error.message).not.to.include('/lib/');
        const nan = leaf(NaN);
        expectError('GRAPH', /the result of mul holds NaN, as what it was given does/, () =>
          fw.detectAnomaly(() => nan.mul(leaf(1))),
        );
        expectError('GRAPH', /the result of sqrt holds NaN/, () =>
          fw.detectAnomaly(() => fw.noGrad(() => leaf(-1).sqrt())),
        );
        expect(logarithm(x).mul(2).dataSync()[1], 'outside').to.be.NaN;
      });
    });

    it('names the operator whose backward pass made it', () => {
      fw.scope(() => {
        const x = leaf(0, 1);
        // 0 times the infinite slope of the root
        const root = (): fw.Tensor => fw.detectAnomaly(() => x.sqrt().mul(0).sum());
        const y = root();
        const error = expectError('GRAPH', /a gradient from the backward pass of sqrt holds NaN/, () =>
          fw.detectAnomaly(() => y.backward()),
        );
        expect(error.message).to.match(/root .*anomaly\.test\.[jt]s/);
        const z = x.sqrt().mul(0).sum();
        expectError('GRAPH', /sqrt holds NaN.*\n.*outside detectAnomaly/, () => fw.detectAnomaly(() => z.backward()));
        const inner = fw.checkpoint((t) => t.sqrt().mul(0), x).sum();
        expectError('GRAPH', /the backward pass of sqrt holds NaN/, () => fw.detectAnomaly(() => inner.backward()));
      });
    });

    it('holds for the call, or until it is turned off', async () => {
      const bad = (): fw.Tensor => leaf(-1).log();
      fw.setDetectAnomaly(true);
      try {
        await Promise.resolve();
        expectError('GRAPH', /the result of log/, bad);
      } finally {
        fw.setDetectAnomaly(false);
      }
      bad();
      expect(fw.detectAnomaly(() => 5)).to.equal(5);
      bad();
      expectError('INVALID_ARGUMENT', /synchronous/, () => fw.detectAnomaly(() => Promise.resolve()));
      expectError('INVALID_ARGUMENT', /on must be true or false/, () => fw.setDetectAnomaly(1 as never));
    });
  });
}
