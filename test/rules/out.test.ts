// What a step writes: `out` and the state, however they lie in memory and whatever they share it with.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';
import { targets } from '../support/golden';
import { hostInputs, RULES, type Sizes, toDevice } from '../support/ruleInputs';

type Inputs = Record<string, fw.Tensor>;

const SIZES: Sizes = { B: 3, T: 1, H: 2, HV: 2, K: 8, V: 8 };
const { B, HV, K, V } = SIZES;
const SHAPE = [B, HV, V];

for (const where of targets()) {
  describe(`steps write on ${where.device}, ${where.dtype}`, () => {
    for (const rule of [...RULES, ...normalized()]) {
      it(rule.name, () => {
        const given = toDevice(hostInputs(rule, SIZES, 5), where);
        const perToken = (rule.perToken ?? 1) > 1;
        const inputs = Object.fromEntries(
          Object.entries(given).map(([name, t]) => {
            const keeps = name === 'bonus' || (perToken && ['k', 'v', 'beta'].includes(name));
            return [name, keeps ? t : t.squeeze(1)];
          }),
        );
        const states = (): Inputs => ({
          state: fw.full([B, HV, K, V], -0.25, where),
          ...(rule.options && 'normalize' in rule.options && { normalizer: fw.full([B, HV, K], 0.5, where) }),
        });
        const run = (
          some: Inputs,
          own: Inputs = states(),
          out?: fw.Tensor,
        ): { values: ArrayLike<number>; y: fw.Tensor } => {
          const y = fw.noGrad(() => rule.step(some, { ...rule.options, ...own, ...(out && { out }) } as never));
          return { values: [y, ...Object.values(own)].map((t) => [...t.dataSync()]) as never, y };
        };
        const expected = run(inputs).values;

        const plain = fw.zeros(SHAPE, where);
        const strided = fw.full([B, HV, 2 * V], -7, where);
        const slice = strided.slice(2, 0, V);
        for (const out of [plain, slice, fw.zeros([V, HV, B], where).transpose(0, 2)]) {
          const before = out.storage.version;
          const { values, y } = run(inputs, states(), out);
          expect(values).to.deep.equal(expected);
          expect(y).to.equal(out);
          expect(out.storage.version).to.be.greaterThan(before);
        }
        expect([...strided.slice(2, V).dataSync()].every((x) => x === -7)).to.equal(true);

        for (const [name, t] of Object.entries(inputs)) {
          // In the memory of an input, from the same element on and shifted by one.
          for (const shift of [0, 1]) {
            const block = fw.zeros([t.size + B * HV * V], where);
            const shared = fw.noGrad(() => block.slice(0, 0, t.size).reshape(t.shape).copy_(t));
            const out = block.slice(0, shift, shift + B * HV * V).reshape(SHAPE);
            expect(run({ ...inputs, [name]: shared }, states(), out).values, `out in ${name}`).to.deep.equal(expected);
          }
          // The state in the memory of an input.
          const own = states();
          const block = fw.zeros([own.state.size + t.size], where);
          const shared = block.slice(0, 0, t.size).reshape(t.shape);
          const state = block.slice(0, 0, own.state.size).reshape(own.state.shape);
          fw.noGrad(() => state.copy_(own.state));
          const alone = run({ ...inputs, [name]: shared.clone() }).values;
          expect(run({ ...inputs, [name]: shared }, { ...own, state }).values, `state in ${name}`).to.deep.equal(alone);
        }

        const own = states();
        const refused: [RegExp, fw.Tensor, fw.ErrorCode][] = [
          [/out must be without elements at two places/, fw.zeros([1], where).expand(SHAPE), 'SHAPE'],
          [/out must be without elements at two places/, fw.zeros([1, HV, V], where).expand(SHAPE), 'SHAPE'],
          [
            /out must be apart from the state/,
            own.state
              .reshape(-1)
              .slice(0, 3, 3 + B * HV * V)
              .reshape(SHAPE),
            'INVALID_ARGUMENT',
          ],
          [/out must be \[3, 2, 8\]/, fw.zeros([2, ...SHAPE], where), 'SHAPE'],
        ];
        for (const [message, out, code] of refused) expectError(code, message, () => run(inputs, own, out));
        // Nothing was changed by what was refused.
        expect(run(inputs, own).values).to.deep.equal(expected);
        const expandedState = fw.zeros([1], where).expand(B, HV, K, V);
        expectError('SHAPE', /state must be contiguous/, () => run(inputs, { ...own, state: expandedState }));
      });
    }

    it('a later backward notices that out was written to', () => {
      const [q, k, v] = [SHAPE, SHAPE, SHAPE].map((shape) => fw.full(shape, 0.5, where));
      const leaf = fw.ones(SHAPE, { ...where, requiresGrad: true });
      const y = leaf.mul(v);
      fw.noGrad(() => fw.deltaRule.step(q, k, v.clone(), { state: fw.zeros([B, HV, K, V], where), out: v }));
      expectError('GRAPH', /changed in place/, () => y.sum().backward());
    });

    it('shortConvolutionStep reads what lies in its state or in strides', () => {
      const block = fw.rand([B, 6, 3], where);
      const [x, weight, wide] = [
        [B, 6],
        [6, 4],
        [6, 2],
      ].map((shape) => fw.rand(shape, where));
      const bias = wide.slice(1, 1).squeeze(1);
      const run = (state: fw.Tensor, input: fw.Tensor, b: fw.Tensor): number[][] => {
        const y = fw.noGrad(() => fw.shortConvolutionStep(input, weight, { bias: b, state }));
        return [[...y.dataSync()], [...state.dataSync()]];
      };
      expect(run(block.clone(), x, bias)).to.deep.equal(run(block.clone(), x, bias.clone()));
      const shared = block.clone();
      const inside = shared.slice(2, 1, 2).squeeze(2);
      const alone = run(block.clone(), inside.clone(), bias);
      expect(run(shared, inside, bias)).to.deep.equal(alone);
      const options = { state: block, activation: 'relu' as 'silu' };
      expectError('INVALID_ARGUMENT', /activation must be/, () =>
        fw.noGrad(() => fw.shortConvolutionStep(x, weight, options)),
      );
    });
  });
}

/** Rules that divide by a sum of keys, which a step changes in place beside its state. */
function normalized(): typeof RULES {
  return RULES.filter(({ name }) => ['linearAttention', 'deltaRule'].includes(name)).map((rule) => ({
    ...rule,
    name: `${rule.name}, normalized`,
    options: { normalize: true, featureMap: 'elu1' },
  }));
}
