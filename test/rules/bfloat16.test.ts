// bfloat16 inputs on every device, whether its kernels compute in it or it is a storage format: what rounds, what stays
// float32, and which dtypes may stand beside it.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';
import {
  type HostInputs,
  hostInputs,
  rounded,
  RULES,
  type RuleCase,
  type Sizes,
  toDevice,
} from '../support/ruleInputs';
import { expectClose, TOLERANCE } from '../support/tolerance';

const { forward } = TOLERANCE.bfloat16;
const SIZES: Sizes = { B: 2, T: 9, H: 2, HV: 2, K: 8, V: 6 };
const EXACT = { device: 'js', dtype: 'float64' } as const;

/** q and k that are no unit vectors, for the options that normalise. */
const raw = rounded(hostInputs(RULES[0], SIZES, 4));
const beta = rounded(
  hostInputs(
    RULES.find((rule) => rule.name === 'deltaRule')!,
    SIZES,
    4,
  ),
).beta;

type Call = (inputs: Record<string, fw.Tensor>) => { output: fw.Tensor; finalNormalizer?: fw.Tensor };

const OPTIONS: [title: string, host: HostInputs, call: Call][] = [
  ['qkL2Norm', raw, ({ q, k, v }) => fw.deltaRule(q, k, v, { qkL2Norm: true })],
  ['elu1 features', raw, ({ q, k, v }) => fw.linearAttention(q, k, v, { featureMap: 'elu1' })],
  ['dpfp features', raw, ({ q, k, v }) => fw.linearAttention(q, k, v, { featureMap: 'dpfp', nu: 2 })],
  [
    'linear attention, normalised',
    raw,
    ({ q, k, v }) => fw.linearAttention(q, k, v, { featureMap: 'elu1', normalize: true, outputFinalState: true }),
  ],
  [
    'delta rule, normalised',
    { ...raw, beta },
    ({ q, k, v, ...gates }) =>
      fw.deltaRule(q, k, v, { ...gates, featureMap: 'elu1', sumNorm: true, normalize: true, outputFinalState: true }),
  ],
];

/** A step's state, and a sequence's initial one. */
const empty = (device: fw.Device, dtype: fw.DType): fw.Tensor =>
  fw.zeros([SIZES.B, SIZES.HV, SIZES.K, SIZES.V], { device, dtype });

function firstToken(rule: RuleCase, inputs: Record<string, fw.Tensor>): Record<string, fw.Tensor> {
  return Object.fromEntries(
    Object.entries(inputs).map(([name, t]) => {
      if (name === 'bonus') return [name, t];
      const rows = t.shape[1] / SIZES.T;
      const token = t.slice(1, 0, rows);
      return [name, rule.perToken && ['k', 'v', 'beta'].includes(name) ? token : token.squeeze(1)];
    }),
  );
}

for (const { device, available } of fw.devices()) {
  if (!available) continue;
  const where = { device, dtype: 'bfloat16' } as const;

  describe(`bfloat16 on ${device}`, () => {
    for (const [title, host, call] of OPTIONS) {
      it(title, () => {
        fw.scope(() => {
          const expected = call(toDevice(host, EXACT));
          const { output, finalNormalizer } = call(toDevice(host, where));
          expect(output.dtype).to.equal('bfloat16');
          expectClose('output', output.dataSync(), expected.output.dataSync(), forward);
          if (!expected.finalNormalizer) return;
          expect(finalNormalizer!.dtype).to.equal('float32');
          expectClose('sum of keys', finalNormalizer!.dataSync(), expected.finalNormalizer.dataSync(), forward);
        });
      });
    }

    for (const rule of RULES) {
      it(`a step of ${rule.name}`, () => {
        fw.noGrad(() =>
          fw.scope(() => {
            const host = rounded(hostInputs(rule, SIZES, 5));
            const one = (at: { device: fw.Device; dtype: fw.DType }, state: fw.Tensor): fw.Tensor =>
              rule.step(firstToken(rule, toDevice(host, at)), { ...rule.options, state });
            const states = [empty('js', 'float64'), empty(device, 'float32')];
            const expected = one(EXACT, states[0]);
            const output = one(where, states[1]);
            expect([output.dtype, states[1].dtype]).to.deep.equal(['bfloat16', 'float32']);
            expectClose('output', output.dataSync(), expected.dataSync(), forward);
            expectClose('state', states[1].dataSync(), states[0].dataSync(), forward);
          }),
        );
      });
    }

    it('gates, strengths and states may be float32 beside it, and nothing else may differ', () => {
      const { q, k, v, beta: strength } = toDevice({ ...raw, beta }, where);
      const { output, finalState } = fw.deltaRule(q, k, v, {
        beta: strength.to('float32'),
        gate: strength.to('float32').neg(),
        initialState: empty(device, 'bfloat16'),
        outputFinalState: true,
      });
      expect([output.dtype, finalState.dtype]).to.deep.equal(['bfloat16', 'float32']);
      expectError('DTYPE', /beta must be float32 like q, got bfloat16/, () =>
        fw.deltaRule(q.to('float32'), k.to('float32'), v.to('float32'), { beta: strength }),
      );
      expectError('DTYPE', /initialState must be float32 like q, got bfloat16/, () =>
        fw.deltaRule(q.to('float32'), k.to('float32'), v.to('float32'), { initialState: empty(device, 'bfloat16') }),
      );
      const [tq, tk, tv] = [q, k, v].map((t) => t.slice(1, 0, 1).squeeze(1));
      expectError('DTYPE', /out must be bfloat16 like q, got float32/, () =>
        fw.noGrad(() => fw.deltaRule.step(tq, tk, tv, { state: empty(device, 'float32'), out: tv.to('float32') })),
      );
      const out = fw.zeros(tv.shape, where);
      const state = empty(device, 'float32');
      expect(fw.noGrad(() => fw.deltaRule.step(tq, tk, tv, { state, out }))).to.equal(out);
      const again = empty(device, 'float32');
      expect(out.dataSync()).to.deep.equal(fw.noGrad(() => fw.deltaRule.step(tq, tk, tv, { state: again })).dataSync());
    });

    it('losses and states of operators are float32, gradients bfloat16', () => {
      fw.scope(() => {
        const leaf = (shape: number[]): fw.Tensor => fw.rand(shape, { ...where, requiresGrad: true });
        const logits = leaf([4, 5]);
        const loss = fw.crossEntropy(logits, fw.zeros([4], { device, dtype: 'int32' }));
        loss.backward();
        expect([loss.dtype, logits.grad!.dtype]).to.deep.equal(['float32', 'bfloat16']);
        const [x, weight] = [leaf([1, 6, 3]), leaf([3, 4])];
        const { output, finalState } = fw.shortConvolution(x, weight, { outputFinalState: true });
        expect([output.dtype, finalState.dtype]).to.deep.equal(['bfloat16', 'float32']);
        const next = fw.shortConvolution(x, weight, { initialState: finalState }).output;
        next.sum().backward();
        expect([next.dtype, x.grad!.dtype, weight.grad!.dtype]).to.deep.equal(['bfloat16', 'bfloat16', 'bfloat16']);
        for (const t of [logits, x, weight]) t.grad!.dispose();
      });
    });

    it('operators refuse float32 beside it', () => {
      fw.scope(() => {
        const [x, y, w] = [fw.ones([3, 3], where), fw.ones([3, 3], { device }), fw.ones([3], { device })];
        const mixed: (() => fw.Tensor)[] = [
          () => x.add(y),
          () => y.maximum(x),
          () => x.matmul(y),
          () => fw.linear(x, y),
          () => fw.rmsNorm(x, w),
          () => fw.layerNorm(x, x.slice(0, 0, 1).squeeze(0), w),
          () => fw.swiglu(x, y),
          () => fw.shortConvolution(x.unsqueeze(0), y).output,
          () => fw.rmsNormGated(x, y, null),
        ];
        for (const use of mixed) expectError('DTYPE', /must be (bfloat16|float32)/, use);
      });
    });

    it('numbers beside it are not rounded', () => {
      fw.scope(() => {
        const x = fw.ones([3], where);
        // 1.0038 would be 1, and 255/256 is the number below 1.
        expect(x.div(1.0038).dataSync()[0]).to.equal(255 / 256);
        expect(x.gt(0.9999).dataSync()[0]).to.equal(1);
        expect(x.lt(1.0001).dataSync()[0]).to.equal(1);
        const below = fw.full([3], 255 / 256, where);
        fw.noGrad(() => below.mul_(1.0038));
        expect(below.dataSync()[0]).to.equal(1);
      });
    });
  });
}
