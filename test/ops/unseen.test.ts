// Causal attention where a key that a query does not see, or a query that does not see a key, is NaN or infinite: 0 times
// that is NaN, and must not be added.
import { expect } from 'chai';
import * as fw from '../../lib';
import { targets } from '../support/golden';
import { Draw } from '../support/ruleInputs';
import { expectClose, toleranceOf } from '../support/tolerance';

const [T, K, V] = [70, 5, 9];

interface Broken {
  name: string;
  /** Which input, or the cotangent, is broken at token `at`. */
  input: 'k' | 'v' | 'dy';
  at: number;
  window?: number;
  /** Tokens whose outputs (`y`), and whose gradients, stay what they are without the broken token. */
  y: (t: number) => boolean;
  gradients: Partial<Record<'q' | 'k' | 'v', (t: number) => boolean>>;
}

const CASES: Broken[] = [
  { name: 'a later key', input: 'k', at: 66, y: (t) => t < 66, gradients: { q: (t) => t < 66 } },
  { name: 'a later value', input: 'v', at: 40, y: (t) => t < 40, gradients: { q: (t) => t < 40 } },
  {
    name: 'a value that has left the window',
    input: 'v',
    at: 10,
    window: 4,
    y: (t) => t < 10 || t > 13,
    gradients: { q: (t) => t < 10 || t > 13, k: (t) => t < 7 || t > 13, v: () => true },
  },
  {
    name: 'an earlier cotangent',
    input: 'dy',
    at: 20,
    y: () => true,
    gradients: { k: (t) => t > 20, v: (t) => t > 20 },
  },
];

for (const where of targets().filter(({ device }) => device !== 'cuda-emulation')) {
  describe(`what attention does not see on ${where.device}, ${where.dtype}`, () => {
    const run = ({ input, at, window }: Broken, value: number | null): Record<string, ArrayLike<number>> =>
      fw.scope(() => {
        const draw = new Draw(3);
        const make = (name: string, width: number): fw.Tensor => {
          const { data } = draw.uniform([1, T, 1, width], -1, 1);
          if (name === input && value !== null) data.fill(value, at * width, (at + 1) * width);
          return fw.tensor(data, { shape: [1, T, 1, width], ...where, requiresGrad: name !== 'dy' });
        };
        const [q, k, v, dy] = [make('q', K), make('k', K), make('v', V), make('dy', V)];
        const y = fw.softmaxAttention(q, k, v, { window: window ?? null });
        y.backward(dy);
        return { y: y.dataSync(), q: q.grad!.dataSync(), k: k.grad!.dataSync(), v: v.grad!.dataSync() };
      });

    for (const broken of CASES) {
      for (const value of [NaN, Infinity]) {
        it(`${broken.name} of ${value}`, () => {
          const [expected, found] = [run(broken, null), run(broken, value)];
          for (const [name, clean] of Object.entries({ y: broken.y, ...broken.gradients })) {
            const width = expected[name].length / T;
            const tokens = Array.from({ length: T }, (_, t) => t).filter(clean);
            const rows = (x: ArrayLike<number>): number[] =>
              tokens.flatMap((t) => Array.from({ length: width }, (_, i) => x[t * width + i]));
            expect(rows(found[name]).every(Number.isFinite), `${name} is finite`).to.equal(true);
            expectClose(name, rows(found[name]), rows(expected[name]), toleranceOf(where.dtype).gradient);
          }
        });
      }
    }
  });
}
