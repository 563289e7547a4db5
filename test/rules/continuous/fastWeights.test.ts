// Fast weights in continuous time: the paper's forms against their equations, the program's against the paper's, both kinds
// of gradients, and what is refused. Vectors of the program are in test/golden.
import { expect } from 'chai';
import * as fw from '../../../lib';
import { expectError } from '../../support/errors';
import { targets } from '../../support/golden';
import { expectClose, toleranceOf } from '../../support/tolerance';

const [B, H, D, C] = [2, 2, 3, 4];
const RULES = ['hebb', 'oja', 'delta'] as const;
const FAMILIES = ['ode', 'cde1', 'cde2', 'dxOnly'] as const;
const js64 = { device: 'js', dtype: 'float64' } as const;
type Where = { device: fw.Device; dtype: fw.DType };
type Weights = Record<string, fw.Tensor>;

function weightsOf(family: fw.FieldFamily, rule: fw.LearningRule, where: Where): Weights {
  const width = H * D;
  const value = family === 'cde1' || (family === 'dxOnly' && rule === 'oja') ? 'dx_dt_proj' : 'vs_proj';
  const shapes: Record<string, number[]> = {
    'input_proj.weight': [width, C],
    'input_proj.bias': [width],
    'input_layer_norm.weight': [width],
    'input_layer_norm.bias': [width],
    ...(family === 'ode'
      ? { 'kvb_net.weight': [2 * width + H, width], 'kvb_net.bias': [2 * width + H] }
      : {
          [`${value}.weight`]: [width, C],
          [`${value}.bias`]: [width],
          'kb_net.weight': [width + H, width],
          'kb_net.bias': [width + H],
        }),
  };
  const make = ([name, shape]: [string, number[]]): [string, fw.Tensor] => [
    name,
    fw.randn(shape, { ...where, requiresGrad: true, std: 0.7 }),
  ];
  return fw.withSeed(11, () => Object.fromEntries(Object.entries(shapes).map(make)));
}

const ruleOf = (family: fw.FieldFamily) => (inputs: fw.ContinuousInputs, options: object) =>
  family === 'ode' ? fw.odeFastWeights(inputs, options) : fw.cdeFastWeights(inputs, { family, ...options });

/** The paper's equations, a head of a member at a time: dS [B, H, D, D]. */
function naive(
  family: fw.FieldFamily,
  rule: fw.LearningRule,
  w: Weights,
  x: number[][],
  dx: number[][],
  S: ArrayLike<number>,
): number[] {
  const apply = (name: string, input: number[]): number[] => {
    const [weight, bias] = [w[`${name}.weight`].dataSync(), w[`${name}.bias`].dataSync()];
    return Array.from(bias, (b, o) => input.reduce((sum, value, i) => sum + weight[o * input.length + i] * value, b));
  };
  const softmax = (z: number[]): number[] => {
    const all = z.reduce((sum, value) => sum + Math.exp(value), 0);
    return z.map((value) => Math.exp(value) / all);
  };
  const found: number[] = [];
  for (let b = 0; b < B; b++) {
    const [keyInput, valueInput] = { ode: [x, x], cde1: [x, dx], cde2: [dx, x], dxOnly: [dx, dx] }[family].map(
      (t) => t[b],
    );
    const a = apply('input_proj', keyInput);
    const mean = a.reduce((sum, value) => sum + value / a.length, 0);
    const variance = a.reduce((sum, value) => sum + (value - mean) ** 2 / a.length, 0);
    const [gain, shift] = [w['input_layer_norm.weight'].dataSync(), w['input_layer_norm.bias'].dataSync()];
    const hidden = a.map((value, i) => ((value - mean) / Math.sqrt(variance + 1e-5)) * gain[i] + shift[i]);
    const net = apply(family === 'ode' ? 'kvb_net' : 'kb_net', hidden);
    const values = family === 'ode' ? [] : apply('dx_dt_proj.weight' in w ? 'dx_dt_proj' : 'vs_proj', valueInput);
    for (let h = 0; h < H; h++) {
      const own = net.slice((h * net.length) / H, ((h + 1) * net.length) / H);
      const k = softmax(own.slice(0, D));
      const beta = 1 / (1 + Math.exp(-own[own.length - 1]));
      const raw = family === 'ode' ? own.slice(D, 2 * D) : values.slice(h * D, (h + 1) * D);
      const v = rule === 'hebb' && family.startsWith('cde') ? raw : raw.map(Math.tanh);
      const s = (i: number, j: number): number => S[((b * H + h) * D + i) * D + j];
      const key = rule === 'oja' ? k.map((value, i) => value - v.reduce((sum, vj, j) => sum + s(i, j) * vj, 0)) : k;
      const error = rule === 'delta' ? v.map((value, j) => value - k.reduce((sum, ki, i) => sum + s(i, j) * ki, 0)) : v;
      for (const ki of key) for (const ej of error) found.push(beta * ki * ej);
    }
  }
  return found;
}

for (const where of targets()) {
  const { forward } = toleranceOf(where.dtype);
  const [x, dx, state] = fw.withSeed(13, () =>
    [
      [B, C],
      [B, C],
      [B, H, D, D],
    ].map((shape) => fw.randn(shape, where)),
  );
  const rows = (t: fw.Tensor): number[][] => [0, 1].map((b) => [...t.select(0, b).dataSync()]);

  describe(`continuous-time fast weights on ${where.device}, ${where.dtype}`, () => {
    for (const family of FAMILIES) {
      it(`${family}: the paper's rules equal their equations`, () => {
        for (const learningRule of RULES) {
          const weights = weightsOf(family, learningRule, where);
          const inputs = { x, ...(family !== 'ode' && { dx }), state, ...weights };
          const { output } = ruleOf(family)(inputs, { learningRule, heads: H, as: 'paper' });
          const expected = naive(family, learningRule, weights, rows(x), rows(dx), state.dataSync());
          expectClose(learningRule, output.dataSync(), expected, forward);
        }
      });
    }
  });
}

describe('continuous-time fast weights', () => {
  const unchecked = (test: () => void) => (): void => fw.withChecks(false, test);
  const TIMES = [0, 0.3, 1, 1.4, 2.2];
  const sequence = (requiresGrad = true): fw.Tensor =>
    fw.withSeed(17, () => fw.randn([B, TIMES.length, C], { ...js64, requiresGrad }));

  it('differ between the program and the paper where the docstring says so, and nowhere else', () => {
    const differ = new Set(['ode oja', 'cde1 oja', 'cde2 oja', 'dxOnly oja', 'cde1 hebb', 'cde2 hebb', 'dxOnly hebb']);
    const [x, dx, state] = fw.withSeed(13, () =>
      [
        [B, C],
        [B, C],
        [B, H, D, D],
      ].map((shape) => fw.randn(shape, js64)),
    );
    for (const family of FAMILIES) {
      for (const learningRule of RULES) {
        const inputs = { x, ...(family !== 'ode' && { dx }), state, ...weightsOf(family, learningRule, js64) };
        const [code, paper] = (['code', 'paper'] as const).map((as) =>
          ruleOf(family)(inputs, { learningRule, heads: H, as }).output.dataSync(),
        );
        const same = code.every((value, i) => Math.abs(value - paper[i]) < 1e-12);
        expect(same, `${family} ${learningRule}`).to.equal(!differ.has(`${family} ${learningRule}`));
      }
    }
  });

  it(
    'have the same gradients by the adjoint equation, within its tolerance',
    unchecked(() => {
      for (const family of ['ode', 'cde2'] as const) {
        for (const learningRule of RULES) {
          for (const solver of [
            { method: 'rk4', stepSize: 0.1 },
            { method: 'dopri5', rtol: 1e-7, atol: 1e-8 },
          ]) {
            // One is enough to see that the methods do not matter.
            if (solver.method === 'dopri5' && (learningRule !== 'delta' || family !== 'ode')) continue;
            const gradients = [false, true].map((adjoint) => {
              const given = { x: sequence(), ...weightsOf(family, learningRule, js64) };
              const options = { learningRule, heads: H, as: 'paper', adjoint, ...solver };
              const { output } = ruleOf(family)({ times: TIMES, outputTimes: [0, 0.5, 1], ...given }, options);
              output.square().sum().backward();
              return Object.values(given).flatMap((t) => [...t.grad!.dataSync()]);
            });
            expectClose(
              `${family} ${learningRule} ${solver.method}`,
              gradients[1],
              gradients[0],
              solver.method === 'rk4' ? 1e-3 : 1e-5,
            );
          }
        }
      }
    }),
  );

  it('of a member do not depend on the others where steps are fixed', () => {
    const weights = weightsOf('cde2', 'delta', js64);
    const run = (x: fw.Tensor): ArrayLike<number> =>
      fw
        .cdeFastWeights({ x, times: TIMES, ...weights }, { heads: H, stepSize: 0.5 })
        .output.select(0, 0)
        .dataSync();
    const x = sequence(false);
    expect(Array.from(run(x))).to.deep.equal(Array.from(run(x.slice(0, 0, 1))));
  });

  it('start from a state that is given, and return the last one', () => {
    const weights = weightsOf('ode', 'delta', js64);
    const options = { heads: H, stepSize: 0.1, outputFinalState: true };
    const x = sequence(false);
    const whole = fw.odeFastWeights({ x, times: TIMES, outputTimes: [0, 1, 2], ...weights }, options);
    expect(whole.output.shape).to.deep.equal([B, 3, H, D, D]);
    expect([...whole.finalState!.dataSync()]).to.deep.equal([...whole.output.select(1, 2).dataSync()]);
    const initialState = whole.output.select(1, 1);
    const rest = fw.odeFastWeights({ x, times: TIMES, outputTimes: [1, 2], initialState, ...weights }, options);
    expectClose('rest', rest.finalState!.dataSync(), whole.finalState!.dataSync(), 1e-12);
  });

  it('compute in float32 beside bfloat16', () => {
    const bf16 = { device: 'js', dtype: 'bfloat16' } as const;
    const names = Object.entries(weightsOf('cde2', 'delta', { device: 'js', dtype: 'float32' }));
    const rounded = Object.fromEntries(names.map(([name, t]) => [name, t.detach().to('bfloat16')]));
    const wide = Object.fromEntries(Object.entries(rounded).map(([name, t]) => [name, t.to('float32')]));
    const x = fw.withSeed(3, () => fw.randn([B, TIMES.length, C], bf16));
    const run = (given: fw.Tensor, weights: Weights): fw.Tensor =>
      fw.cdeFastWeights({ x: given, times: TIMES, ...weights }, { heads: H }).output;
    const output = run(x, rounded);
    expect(output.dtype).to.equal('bfloat16');
    expect([...output.dataSync()]).to.deep.equal([...run(x.to('float32'), wide).to('bfloat16').dataSync()]);
  });

  it('refuse what they cannot use, and name it', () => {
    expectError('INVALID_ARGUMENT', /odeFastWeights: method must be/, () =>
      fw.odeFastWeights({ x: fw.zeros([1, 2]) }, { method: 'nonsense' as never }),
    );
    const weights = weightsOf('cde2', 'delta', js64);
    const [x, dx, state] = [
      [B, C],
      [B, C],
      [B, H, D, D],
    ].map((shape) => fw.zeros(shape, js64));
    const { 'kb_net.weight': kb, ...without } = weights;
    const four = { 'kb_net.weight': fw.zeros([10, 6], js64), 'kb_net.bias': fw.zeros([10], js64) };
    const field =
      (inputs: object, options: object = {}) =>
      () =>
        fw.cdeFastWeights(
          { x, dx, state, ...weights, ...inputs },
          {
            heads: H,
            ...options,
          },
        );
    const driven =
      (inputs: object, options: object = {}) =>
      () =>
        fw.cdeFastWeights({ x: sequence(), times: TIMES, ...weights, ...inputs }, { heads: H, ...options });
    const cases: [fw.ErrorCode, string, () => unknown][] = [
      ['INVALID_ARGUMENT', 'family', field({}, { family: 'ode' })],
      ['INVALID_ARGUMENT', 'learningRule', field({}, { learningRule: 'stdp' })],
      ['INVALID_ARGUMENT', 'as', field({}, { as: 'published' })],
      ['INVALID_ARGUMENT', 'heads', field(four, { heads: 4 })],
      ['INVALID_ARGUMENT', 'kb_net.weight', () => fw.cdeFastWeights({ x, dx, state, ...without }, { heads: H })],
      ['SHAPE', 'kb_net.weight', field({ 'kb_net.weight': kb.slice(0, 1) })],
      ['INVALID_ARGUMENT', 'kvb_net.weight', field({ 'kvb_net.weight': kb })],
      ['SHAPE', 'state', field({ state: state.select(0, 0) })],
      ['INVALID_ARGUMENT', 'state', field({}, { initialValue: true })],
      ['INVALID_ARGUMENT', 'times', driven({ times: [0, 1, 1, 2, 3] })],
      ['INVALID_ARGUMENT', 'outputTimes', driven({ outputTimes: [1, 0] })],
      ['INVALID_ARGUMENT', 'initialState', driven({}, { initialFromControl: false })],
      ['INVALID_ARGUMENT', 'initialState', driven({ initialState: state }, { initialFromControl: true })],
      ['INVALID_ARGUMENT', 'stepSize', driven({}, { stepSize: -1 })],
      ['INVALID_ARGUMENT', 'maxSteps', driven({}, { method: 'dopri5', rtol: 1e-12, atol: 1e-12, maxSteps: 3 })],
    ];
    for (const [code, argument, fn] of cases) expect(expectError(code, /./, fn).argument).to.equal(argument);
  });
});
