// The widest keys and values of the recurrence on the card, and what is beyond them.
import * as fw from '../../lib';
import { expectError } from '../support/errors';
import { Draw } from '../support/ruleInputs';
import { expectClose, toleranceOf } from '../support/tolerance';
import { onEmulation } from './device';

if (onEmulation) {
  describe('widths on the emulated card', () => {
    const run = (device: fw.Device, dtype: fw.DType, K: number, V: number): ArrayLike<number>[] =>
      fw.scope(() => {
        const draw = new Draw(3);
        const leaf = ({ shape, data }: { shape: number[]; data: Float64Array }): fw.Tensor =>
          fw.tensor(data, { shape, device, dtype, requiresGrad: true });
        const T = 35;
        const [q, k] = [leaf(draw.unit([1, T, 1, K])), leaf(draw.unit([1, T, 1, K]))];
        const [v, gate] = [leaf(draw.uniform([1, T, 1, V], -1, 1)), leaf(draw.uniform([1, T, 1, K], -2, 0))];
        const beta = leaf(draw.uniform([1, T, 1], 0, 1));
        const { output } = fw.deltaRule(q, k, v, { gate, beta });
        output.square().sum().backward();
        const leaves = [q, k, v, gate, beta];
        const gradients = leaves.map((t) => t.grad!.dataSync());
        leaves.forEach((t) => t.grad!.dispose());
        return [output.dataSync(), ...gradients];
      });

    for (const [K, V] of [
      [256, 16],
      [16, 256],
      [256, 256],
      [129, 40],
    ]) {
      it(`keys of ${K} and values of ${V}`, () => {
        const [output, ...gradients] = run('cuda-emulation', 'float32', K, V);
        const [expected, ...expectedGradients] = run('js', 'float64', K, V);
        const { forward, gradient } = toleranceOf('float32');
        expectClose('output', output, expected, forward);
        gradients.forEach((g, i) => expectClose(`gradient ${i}`, g, expectedGradients[i], gradient));
      }).timeout(120_000);
    }

    it('refuses wider keys', () => {
      expectError('UNSUPPORTED', /at most 256 keys per head, got 257/, () => run('cuda-emulation', 'float32', 257, 4));
    });
  });
}
