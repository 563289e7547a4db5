// One description of every rule for the tests: which inputs it takes, with random values that the rule is made for.
import * as fw from '../../lib';
import { fromBfloat16, HostRandom, toBfloat16 } from '../../lib/core';

export interface Sizes {
  B: number;
  T: number;
  H: number;
  HV: number;
  K: number;
  V: number;
}

export interface HostTensor {
  shape: number[];
  data: Float64Array;
}

export type HostInputs = Record<string, HostTensor>;
type Result = { output: fw.Tensor; finalState?: fw.Tensor; finalNormalizer?: fw.Tensor };

export interface RuleCase {
  name: string;
  /** Inputs beside q, k, v. */
  gates: (s: Sizes, random: Draw) => HostInputs;
  options?: Record<string, unknown>;
  /** Rows of k and v per token. */
  perToken?: number;
  call: (inputs: Record<string, fw.Tensor>, options: object) => Result;
  /** One token: inputs without the time dimension. */
  step: (inputs: Record<string, fw.Tensor>, options: { state: fw.Tensor }) => fw.Tensor;
  /** What has unit length. */
  unit?: 'k' | 'v';
}

/** Draws host tensors from a seeded stream, with values that float32 holds exactly. */
export class Draw {
  private readonly random: HostRandom;

  constructor(seed: number) {
    this.random = new HostRandom(seed);
  }

  /** Uniform in [low, high). */
  uniform(shape: number[], low: number, high: number): HostTensor {
    const data = Float64Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () =>
      Math.fround(low + (high - low) * this.random.next()),
    );
    return { shape, data };
  }

  /** Rows of unit length along the last dimension. */
  unit(shape: number[]): HostTensor {
    const t = this.uniform(shape, -1, 1);
    const n = shape[shape.length - 1];
    for (let r = 0; r < t.data.length; r += n) {
      const length = Math.hypot(...t.data.subarray(r, r + n)) || 1;
      for (let i = r; i < r + n; i++) t.data[i] = Math.fround(t.data[i] / length);
    }
    return t;
  }
}

type Call = (q: fw.Tensor, k: fw.Tensor, v: fw.Tensor, options: object) => Result;
type Step = (q: fw.Tensor, k: fw.Tensor, v: fw.Tensor, options: object) => fw.Tensor;

/** Rules differ in the gates they require; here they are called with whatever the case holds. */
function named(rule: object): Pick<RuleCase, 'call' | 'step'> {
  const { step } = rule as { step: Step };
  return {
    call: ({ q, k, v, ...rest }, options) => (rule as unknown as Call)(q, k, v, { ...rest, ...options }),
    step: ({ q, k, v, ...rest }, options) => step(q, k, v, { ...rest, ...options }),
  };
}

const general: Pick<RuleCase, 'call' | 'step'> = {
  call: ({ initialState, ...inputs }, options) =>
    fw.recurrence(inputs as unknown as fw.RecurrenceInputs, { initialState, ...options }),
  step: (inputs, options) => fw.recurrence.step(inputs as unknown as fw.RecurrenceInputs, options),
};

/** Lightning attention as a layer of a model. */
function inLayer(layer: { layerIndex: number; numLayers: number }): object {
  const { lightningAttention: rule } = fw;
  const call: Call = (q, k, v, options) => rule(q, k, v, { ...options, ...layer });
  const step: Step = (q, k, v, options) => rule.step(q, k, v, { ...(options as { state: fw.Tensor }), ...layer });
  return Object.assign(call, { step });
}

const scalar = ({ B, T, HV }: Sizes): number[] => [B, T, HV];
const keys = ({ B, T, HV, K }: Sizes): number[] => [B, T, HV, K];
const values = ({ B, T, HV, V }: Sizes): number[] => [B, T, HV, V];
const headKeys = ({ B, T, H, K }: Sizes): number[] => [B, T, H, K];

/** The same key of unit length at every token. */
function repeated(s: Sizes, d: Draw): HostTensor {
  const shape = headKeys(s);
  const { data } = d.unit([s.H, s.K]);
  return { shape, data: Float64Array.from({ length: s.B * s.T * data.length }, (_, i) => data[i % data.length]) };
}

export const RULES: RuleCase[] = [
  { name: 'linearAttention', gates: () => ({}), ...named(fw.linearAttention) },
  { name: 'retention', gates: () => ({}), ...named(fw.retention) },
  { name: 'lightningAttention', gates: () => ({}), ...named(inLayer({ layerIndex: 1, numLayers: 4 })) },
  {
    name: 'gatedLinearAttention, scalar gate',
    gates: (s, d) => ({ gate: d.uniform(scalar(s), -1, 0) }),
    ...named(fw.gatedLinearAttention),
  },
  {
    name: 'gatedLinearAttention, vector gate',
    gates: (s, d) => ({ gate: d.uniform(keys(s), -3, 0) }),
    ...named(fw.gatedLinearAttention),
  },
  { name: 'deltaRule', unit: 'k', gates: (s, d) => ({ beta: d.uniform(scalar(s), 0, 1) }), ...named(fw.deltaRule) },
  { name: 'deltaRule, no beta', unit: 'k', gates: () => ({}), ...named(fw.deltaRule) },
  {
    name: 'deltaRule, strength per channel',
    unit: 'k',
    gates: (s, d) => ({ beta: d.uniform(values(s), 0, 2) }),
    ...named(fw.deltaRule),
  },
  {
    name: 'deltaRule, scalar gate',
    unit: 'k',
    gates: (s, d) => ({ beta: d.uniform(scalar(s), 0, 2), gate: d.uniform(scalar(s), -1, 0) }),
    ...named(fw.deltaRule),
  },
  {
    name: 'deltaRule, vector gate',
    unit: 'k',
    gates: (s, d) => ({ beta: d.uniform(scalar(s), 0, 1), gate: d.uniform(keys(s), -3, 0) }),
    ...named(fw.deltaRule),
  },
  {
    name: 'deltaRule, strong vector gate',
    unit: 'k',
    gates: (s, d) => ({ beta: d.uniform(scalar(s), 0, 1), gate: d.uniform(keys(s), -22, 0) }),
    ...named(fw.deltaRule),
  },
  {
    name: 'deltaRule, one key, beta near 2, strong scalar gate',
    gates: (s, d) => ({ k: repeated(s, d), beta: d.uniform(scalar(s), 1.9, 2), gate: d.uniform(scalar(s), -5.9, -5) }),
    ...named(fw.deltaRule),
  },
  {
    name: 'deltaRule, one key, beta near 2, strong vector gate',
    gates: (s, d) => ({ k: repeated(s, d), beta: d.uniform(scalar(s), 1.9, 2), gate: d.uniform(keys(s), -5.9, -5) }),
    ...named(fw.deltaRule),
  },
  {
    name: 'deltaProduct',
    unit: 'k',
    perToken: 2,
    options: { numHouseholder: 2 },
    gates: (s, d) => ({ beta: d.uniform([s.B, 2 * s.T, s.HV], 0, 2), gate: d.uniform(scalar(s), -1, 0) }),
    ...named(fw.deltaProduct),
  },
  {
    name: 'generalizedDeltaRule',
    gates: (s, d) => {
      const a = d.unit(headKeys(s));
      const b = { shape: a.shape, data: a.data.map((x, i) => Math.fround(-x * (0.5 + 0.4 * Math.sin(i)))) };
      return { a, b, gate: d.uniform(headKeys(s), -0.6, 0) };
    },
    ...named(fw.generalizedDeltaRule),
  },
  {
    name: 'ojaRule',
    unit: 'v',
    gates: (s, d) => ({ beta: d.uniform(scalar(s), 0, 1), gate: d.uniform(values(s), -1, 0) }),
    ...named(fw.ojaRule),
  },
  {
    name: 'comba',
    unit: 'k',
    gates: (s, d) => ({ p: d.unit(headKeys(s)), beta: d.uniform(scalar(s), 0, 1), gate: d.uniform(scalar(s), -1, 0) }),
    ...named(fw.comba),
  },
  {
    name: 'gatedDeltaRule2',
    unit: 'k',
    gates: (s, d) => ({
      gate: d.uniform(keys(s), -1, 0),
      eraseGate: d.uniform(headKeys(s), 0, 1),
      writeGate: d.uniform(values(s), 0, 1),
    }),
    ...named(fw.gatedDeltaRule2),
  },
  {
    name: 'rwkv6',
    gates: (s, d) => ({ gate: d.uniform(headKeys(s), -2, 0), bonus: d.uniform([s.H, s.K], -1, 1) }),
    ...named(fw.rwkv6),
  },
  {
    name: 'recurrence, all keys differ',
    options: { eraseFrom: 'decayed' },
    gates: (s, d) => ({
      eraseKey: d.unit(headKeys(s)),
      writeKey: d.unit(headKeys(s)),
      beta: d.uniform(scalar(s), 0, 1),
      gate: d.uniform(scalar(s), -1, 0),
    }),
    ...general,
  },
  {
    name: 'recurrence, read before',
    options: { read: 'before' },
    gates: () => ({}),
    ...general,
  },
  {
    name: 'recurrence, erase, read before, vector gate',
    unit: 'k',
    options: { eraseFrom: 'decayed', read: 'before' },
    gates: (s, d) => ({ beta: d.uniform(scalar(s), 0, 1), gate: d.uniform(keys(s), -1, 0) }),
    ...general,
  },
  {
    name: 'recurrence, second write, scalar gate',
    options: { eraseFrom: 'decayed', secondWrite: true },
    gates: (s, d) => ({
      eraseKey: d.unit(headKeys(s)),
      beta: d.uniform(scalar(s), 0, 0.5),
      gate: d.uniform(scalar(s), -1, 0),
    }),
    ...general,
  },
  {
    name: 'recurrence, values decay without erasing',
    gates: (s, d) => ({ valueGate: d.uniform(values(s), -1, 0), beta: d.uniform(scalar(s), 0, 1) }),
    ...general,
  },
  {
    name: 'recurrence, erase, read before with bonus',
    unit: 'k',
    options: { eraseFrom: 'undecayed', read: 'before' },
    gates: (s, d) => ({
      beta: d.uniform(scalar(s), 0, 1),
      gate: d.uniform(keys(s), -1, 0),
      bonus: d.uniform([s.H, s.K], -1, 1),
    }),
    ...general,
  },
];

/** Host inputs of a rule at given sizes, q, k and v among them. */
export function hostInputs(rule: RuleCase, s: Sizes, seed: number): HostInputs {
  const draw = new Draw(seed);
  const rows = s.T * (rule.perToken ?? 1);
  const kShape = [s.B, rows, s.H, s.K];
  const vShape = [s.B, rows, s.HV, s.V];
  return {
    q: draw.uniform([s.B, s.T, s.H, s.K], -1, 1),
    k: rule.unit === 'k' ? draw.unit(kShape) : draw.uniform(kShape, -0.5, 0.5),
    v: rule.unit === 'v' ? draw.unit(vShape) : draw.uniform(vShape, -1, 1),
    ...rule.gates(s, draw),
  };
}

/** The numbers that bfloat16 holds in their place, so that a reference starts where a device starts. */
export function rounded(host: HostInputs): HostInputs {
  return Object.fromEntries(
    Object.entries(host).map(([name, { shape, data }]) => [
      name,
      { shape, data: data.map((x) => fromBfloat16(toBfloat16(x))) },
    ]),
  );
}

/** On a device; `strided` puts the values into every other column of a wider tensor, so that nothing is contiguous. */
export function toDevice(
  host: HostInputs,
  where: { device: fw.Device; dtype: fw.DType },
  { requiresGrad = false, strided = false } = {},
): Record<string, fw.Tensor> {
  return Object.fromEntries(
    Object.entries(host).map(([name, { shape, data }]) => {
      const t = fw.tensor(data, { shape, ...where });
      const placed = strided && shape.length >= 3 ? widened(t) : t;
      placed.requiresGrad = requiresGrad;
      return [name, placed];
    }),
  );
}

/** The same values as a slice of a tensor with more heads, as a fused projection would hand them over. */
function widened(t: fw.Tensor): fw.Tensor {
  return fw.noGrad(() => fw.cat([t, t, t], 2).slice(2, t.shape[2], 2 * t.shape[2]));
}
