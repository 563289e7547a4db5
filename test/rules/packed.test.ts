// Thousands of packed sequences in one call take the time of the same tokens as a batch.
import { expect } from 'chai';
import * as fw from '../../lib';
import { targets } from '../support/golden';
import { expectClose } from '../support/tolerance';

// An emulated card computes a token in milliseconds.
const kinds = targets().filter(({ device, dtype }) => dtype === 'float32' && !device.startsWith('cuda'));

for (const where of kinds) {
  describe(`many packed sequences on ${where.device}`, () => {
    const [T, H, K, D] = [where.device === 'js' ? 4096 : 16384, 2, 4, 8];
    const cuSeqlens = Array.from({ length: T + 1 }, (_, n) => n);
    const leaf = (...shape: number[]): fw.Tensor => fw.rand(shape, { ...where, requiresGrad: true });
    const [q, k, v] = [0, 1, 2].map(() => leaf(1, T, H, K));
    const [x, weight] = [leaf(1, T, D), leaf(D, 4)];

    const CASES: [string, (pack: (t: fw.Tensor) => fw.Tensor, cu: number[] | null) => fw.Tensor][] = [
      ['deltaRule', (of, cu) => fw.deltaRule(of(q), of(k), of(v), { cuSeqlens: cu }).output],
      ['ojaRule', (of, cu) => fw.ojaRule(of(q), of(k), of(v), { cuSeqlens: cu }).output],
      ['softmaxAttention', (of, cu) => fw.softmaxAttention(of(q), of(k), of(v), { cuSeqlens: cu })],
      ['shortConvolution', (of, cu) => fw.shortConvolution(of(x), weight, { cuSeqlens: cu }).output],
    ];
    for (const [name, run] of CASES) {
      it(name, function () {
        this.timeout(60_000);
        const timed = (packed: boolean): [number, ArrayLike<number>] => {
          const start = performance.now();
          const y = fw.scope(() => {
            const output = packed ? run((t) => t, cuSeqlens) : run((t) => t.reshape(T, 1, ...t.shape.slice(2)), null);
            output.sum().backward();
            return output.detach().dataSync();
          });
          return [performance.now() - start, y];
        };
        // The best of a few, as other processes may take turns.
        const runs = [0, 1, 2].map(() => [timed(true), timed(false)]);
        const [packed, batch] = [0, 1].map((i) => Math.min(...runs.map((pair) => pair[i][0])));
        expect(packed, `packed ${packed} ms, batch ${batch} ms`).to.be.below(4 * batch + 50);
        expectClose('output', runs[0][0][1], runs[0][1][1], 1e-6);
      });
    }
  });
}
