// RWKV-4's average and HGRN's recurrence: vectors of the authors' programs, and keys as large as they like.
import { expect } from 'chai';
import * as fw from '../../lib';
import { describeFolders } from '../golden/table';
import { expectError } from '../support/errors';
import { targets } from '../support/golden';
import { Draw } from '../support/ruleInputs';
import { expectClose } from '../support/tolerance';

describeFolders('rwkv4', 'hgrn');

/** The equation with a running maximum, a channel and a token at a time. */
function naive(k: Float64Array, v: Float64Array, w: number[], u: number[]): number[] {
  const D = w.length;
  const state = w.map(() => ({ a: 0, b: 0, max: -1e38 }));
  return Array.from(k, (key, i) => {
    const c = i % D;
    const s = state[c];
    const top = Math.max(s.max, u[c] + key);
    const [old, own] = [Math.exp(s.max - top), Math.exp(u[c] + key - top)];
    const output = (old * s.a + own * v[i]) / (old * s.b + own);
    const max = Math.max(s.max - w[c], key);
    const [keep, add] = [Math.exp(s.max - w[c] - max), Math.exp(key - max)];
    state[c] = { a: keep * s.a + add * v[i], b: keep * s.b + add, max };
    return output;
  });
}

for (const where of targets()) {
  describe(`rwkv4 on ${where.device}, ${where.dtype}`, () => {
    for (const size of [1, 60, 500]) {
      it(`is stable for keys in +-${size} under any decay`, () => {
        const [T, decays] = [300, [-12, -4, -1, 0, 2, 5, 7, 20]];
        const D = decays.length;
        const draw = new Draw(size);
        const [k, v] = [draw.uniform([1, T, D], -size, size), draw.uniform([1, T, D], -1, 1)];
        const u = draw.uniform([D], -2, 2);
        const [tk, tv] = [k, v].map(({ data, shape }) => fw.tensor(data, { shape, ...where }));
        const inputs = { k: tk, v: tv, timeDecay: fw.tensor(decays, where), timeFirst: fw.tensor(u.data, where) };
        const w = Array.from(inputs.timeDecay.exp().dataSync());
        // A float32 key of some hundred has an error of its own, which the exponential makes relative.
        const tolerance = where.dtype === 'float64' ? 1e-9 : 1e-5 + 1e-7 * size;
        const { output, finalMax } = fw.rwkv4(inputs, { outputFinalState: true });
        expectClose('output', output.dataSync(), naive(k.data, v.data, w, [...u.data]), tolerance);
        expect(Array.from(finalMax.dataSync()).every((x) => Math.abs(x) < 1e4)).to.equal(true);
      });
    }

    it('forgets all at once where the decay is more than float32 holds, with gradients', () => {
      const [T, D] = [5, 2];
      const draw = new Draw(3);
      const [k, v] = [draw.uniform([1, T, D], -2, 2), draw.uniform([1, T, D], -1, 1)];
      const [tk, tv] = [k, v].map(({ data, shape }) => fw.tensor(data, { shape, ...where }));
      const timeDecay = fw.tensor([89, 1e4], { ...where, requiresGrad: true });
      const timeFirst = fw.tensor([0.5, -1], where);
      const expected = naive(k.data, v.data, [Infinity, Infinity], [0.5, -1]);
      const { output, ...states } = fw.rwkv4({ k: tk, v: tv, timeDecay, timeFirst }, { outputFinalState: true });
      expectClose('output', output.dataSync(), expected, 1e-5);
      [output, ...Object.values(states)]
        .map((t) => t.sum())
        .reduce((a, b) => a.add(b))
        .backward();
      expect(Array.from(timeDecay.grad!.dataSync())).to.eql([0, 0]);

      const state = {
        numerator: fw.zeros([1, D], where),
        denominator: fw.zeros([1, D], where),
        max: fw.full([1, D], -1e38, where),
      };
      fw.noGrad(() => {
        const tokens = Array.from({ length: T }, (_, t) =>
          fw.rwkv4.step({ k: tk.select(1, t), v: tv.select(1, t), timeDecay, timeFirst }, { state }),
        );
        expectClose('steps', fw.stack(tokens, 1).dataSync(), expected, 1e-5);
      });
      for (const [name, t] of Object.entries(state)) expect(fw.isfinite(t).all().item(), name).to.equal(1);
    });
  });
}

describe('inputs that do not fit', () => {
  const z = (...shape: number[]): fw.Tensor => fw.zeros(shape, { device: 'js' });

  it('are named', () => {
    const inputs = { k: z(1, 3, 2), v: z(1, 3, 2), timeDecay: z(2), timeFirst: z(2) };
    const wrong: [object, string, string][] = [
      [{ v: z(1, 3, 4) }, 'SHAPE', 'v'],
      [{ timeDecay: z(3) }, 'SHAPE', 'timeDecay'],
      [{ timeFirst: fw.zeros([2], { dtype: 'int32', device: 'js' }) }, 'DTYPE', 'timeFirst'],
      [{ initialMax: z(2, 2) }, 'SHAPE', 'initialMax'],
      [{ timeFist: z(2) }, 'INVALID_ARGUMENT', 'timeFist'],
    ];
    for (const [change, code, argument] of wrong) {
      const error = expectError(code as fw.ErrorCode, /./, () => fw.rwkv4({ ...inputs, ...change }));
      expect(error.argument).to.equal(argument);
    }
    expect(expectError('SHAPE', /gate/, () => fw.hgrn({ x: z(1, 3, 2), gate: z(1, 3, 1) })).argument).to.equal('gate');
  });
});
