// Inputs of the kernels that take a recurrence in bfloat16 (native/cuda/recurrence/walk).
import * as fw from '../../lib';
import type { Target } from '../support/golden';
import { Draw, type HostInputs, type HostTensor, rounded } from '../support/ruleInputs';
import type { Site } from './device';

interface Sizes {
  B?: number;
  T: number;
  H?: number;
  HV?: number;
  K: number;
  V: number;
}

/** Unit vectors that share most of their direction: the mean product of two is `alike`. */
function keys(draw: Draw, shape: number[], alike: number): HostTensor {
  const own = draw.unit(shape);
  const width = shape[3];
  const { data: common } = draw.unit([1, width]);
  const data = own.data.map((x, i) => Math.sqrt(alike) * common[i % width] + Math.sqrt(1 - alike) * x);
  for (let row = 0; row < data.length; row += width) {
    const length = Math.hypot(...data.subarray(row, row + width));
    for (let i = row; i < row + width; i++) data[i] /= length;
  }
  return { shape, data };
}

export interface Setting extends Sizes {
  beta?: [low: number, high: number];
  gate?: [low: number, high: number];
  /** A gate for every key instead of one for a head. */
  keyGates?: boolean;
  alike?: number;
  scale?: Record<string, number>;
  initial?: boolean;
  cuSeqlens?: number[];
}

export function inputsOf({
  B = 1,
  T,
  H = 1,
  HV = H,
  K,
  V,
  beta,
  gate,
  keyGates,
  alike = 0,
  scale = {},
  initial,
  cuSeqlens,
}: Setting): HostInputs {
  const draw = new Draw(5);
  const host: HostInputs = {
    q: draw.unit([B, T, H, K]),
    k: keys(draw, [B, T, H, K], alike),
    v: draw.uniform([B, T, HV, V], -1, 1),
    ...(beta && { beta: draw.uniform([B, T, HV], ...beta) }),
    ...(gate && { gate: draw.uniform(keyGates ? [B, T, HV, K] : [B, T, HV], ...gate) }),
    ...(initial && { initialState: draw.uniform([cuSeqlens ? cuSeqlens.length - 1 : B, HV, K, V], -1, 1) }),
  };
  const scaled = Object.entries(host).map(([name, { shape, data }]): [string, HostTensor] => [
    name,
    { shape, data: data.map((x) => x * (scale[name] ?? 1)) },
  ]);
  return rounded(Object.fromEntries(scaled));
}

export const tensors = (host: HostInputs, { device, dtype }: Target): Record<string, fw.Tensor> =>
  Object.fromEntries(
    Object.entries(host).map(([name, { shape, data }]) => [name, fw.tensor(data, { shape, device, dtype })]),
  );

export type Results = [output: ArrayLike<number>, finalState: ArrayLike<number>];

/** Linear attention without strengths, the delta rule with them. */
export function results({ q, k, v, ...rest }: Record<string, fw.Tensor>, options: object = {}): Results {
  const rule = (rest.beta ? fw.deltaRule : rest.gate ? fw.gatedLinearAttention : fw.linearAttention) as (
    ...x: unknown[]
  ) => fw.RuleResult;
  const { output, finalState } = rule(q, k, v, { ...rest, outputFinalState: true, ...options });
  return [output.dataSync(), finalState!.dataSync()];
}

export const erasing = { beta: [0, 1] as [number, number] };
export const gated = { ...erasing, gate: [-0.3, 0] as [number, number] };
/** So many sequences that blocks have all their warps. */
export const many = (...cuSeqlens: number[]): number[] => [...Array<number>(70).fill(0), ...cuSeqlens];
export const CASES: Record<string, Setting> = {
  'one token': { ...gated, T: 1, K: 64, V: 64, initial: true },
  'a token less than a chunk': { ...gated, T: 63, K: 64, V: 64 },
  'a chunk': { ...erasing, T: 64, K: 64, V: 128, initial: true },
  'a token more': { ...erasing, T: 65, K: 128, V: 64, initial: true },
  'four chunks, two blocks of values': { ...gated, T: 201, K: 64, V: 136, initial: true },
  'wide keys and values': { ...gated, T: 135, K: 128, V: 128, initial: true },
  'few values': { ...gated, T: 70, H: 2, K: 128, V: 8 },
  'linear attention': { T: 135, K: 64, V: 72, initial: true },
  'linear attention, gated': { T: 135, K: 128, V: 136, gate: [-0.3, 0] },
  'batch, fewer heads of keys': { ...gated, B: 2, T: 70, H: 2, HV: 4, K: 64, V: 64, initial: true },
  packed: { ...gated, T: 200, H: 2, K: 64, V: 128, cuSeqlens: [0, 0, 1, 66, 66, 199, 200, 200], initial: true },
  'packed, many': { ...gated, T: 200, K: 64, V: 128, cuSeqlens: many(1, 66, 66, 200), initial: true },
  'packed, many, wide': { ...gated, T: 200, K: 128, V: 136, cuSeqlens: many(63, 200), initial: true },
  'linear attention, many': { T: 200, K: 128, V: 72, cuSeqlens: many(200) },
  'strengths near 2': { T: 321, K: 64, V: 64, beta: [1.8, 2] },
  'strengths near 2, keys alike': { T: 321, K: 128, V: 64, beta: [1.8, 2], alike: 0.9 },
  'keys alike': { T: 321, K: 128, V: 64, ...erasing, gate: [-0.02, 0], alike: 0.9 },
  'keys almost the same': { T: 321, K: 64, V: 64, ...erasing, alike: 0.99 },
  'strong gates': { ...erasing, T: 135, K: 64, V: 64, gate: [-100, 0], initial: true },
  'tiny values, large queries': { ...gated, T: 100, K: 64, V: 64, scale: { v: 1e-6, q: 1e5 } },
  'large values, tiny queries': { ...gated, T: 100, K: 64, V: 64, scale: { v: 1e5, q: 1e-6 } },
  'long keys': { T: 100, K: 64, V: 64, gate: [-0.3, 0], scale: { q: 1e4, k: 1e5 } },
};

/** A gate for every key. */
export const fading = { gate: [-0.3, 0] as [number, number], keyGates: true };
export const kda = { ...erasing, ...fading };
export const FADING_CASES: Record<string, Setting> = {
  'one token': { ...kda, T: 1, K: 64, V: 64, initial: true },
  'a token less than half a chunk': { ...kda, T: 31, K: 64, V: 64 },
  'half a chunk': { ...kda, T: 32, K: 64, V: 64, initial: true },
  'a token more': { ...kda, T: 33, K: 128, V: 64, initial: true },
  'a token less than a chunk': { ...kda, T: 63, K: 64, V: 128 },
  'a token more than a chunk': { ...kda, T: 65, K: 64, V: 72, initial: true },
  'four chunks, three blocks of values': { ...kda, T: 201, K: 64, V: 136, initial: true },
  'wide keys and values': { ...kda, T: 135, K: 128, V: 128, initial: true },
  'few values': { ...kda, T: 70, H: 2, K: 128, V: 8 },
  'linear attention': { ...fading, T: 135, K: 64, V: 72, initial: true },
  'linear attention, wide': { ...fading, T: 135, K: 128, V: 136 },
  'linear attention, many': { ...fading, T: 200, K: 128, V: 72, cuSeqlens: many(40, 200) },
  'batch, fewer heads of keys': { ...kda, B: 2, T: 70, H: 2, HV: 4, K: 64, V: 64, initial: true },
  packed: { ...kda, T: 200, H: 2, K: 64, V: 128, cuSeqlens: [0, 0, 1, 66, 66, 199, 200, 200], initial: true },
  'packed, many, wide': { ...kda, T: 200, K: 128, V: 136, cuSeqlens: many(63, 200), initial: true },
  'strengths near 2': { ...fading, T: 321, K: 64, V: 64, beta: [1.8, 2], gate: [-0.001, 0] },
  'strengths near 2, keys alike': { ...fading, T: 321, K: 128, V: 64, beta: [1.8, 2], gate: [-0.001, 0], alike: 0.9 },
  'strengths near 2, keys alike that fade': { ...fading, T: 321, K: 64, V: 64, beta: [1.8, 2], alike: 0.9 },
  'keys alike': { ...kda, T: 321, K: 128, V: 64, gate: [-0.02, 0], alike: 0.9 },
  'keys almost the same': { ...kda, T: 321, K: 64, V: 64, gate: [-0.001, 0], alike: 0.99 },
  'strong gates': { ...kda, T: 135, K: 64, V: 64, gate: [-100, 0], initial: true },
  'strong gates, linear attention': { ...fading, T: 135, K: 64, V: 64, gate: [-100, 0], initial: true },
  'tiny values, large queries': { ...kda, T: 100, K: 64, V: 64, scale: { v: 1e-6, q: 1e5 } },
  'large values, tiny queries': { ...kda, T: 100, K: 64, V: 64, scale: { v: 1e5, q: 1e-6 } },
  'long keys': { ...fading, T: 100, K: 64, V: 64, scale: { q: 1e4, k: 1e5 } },
};

/** Gates of minus infinity, and gates that forget all between others that forget nothing. */
export function forgetAmong(host: HostInputs): HostInputs {
  const { shape, data } = host.gate;
  const K = shape[3];
  for (const t of [0, 3, 20, 63, 64, 128]) for (let i = t % 3; i < K; i += 3) data[t * K + i] = -Infinity;
  for (const t of [5, 17, 40, 100]) for (let i = 0; i < K; i += 2) data[t * K + i] = -1000;
  return host;
}

/** How often the emulated card has come to a place of these sources where threads wait. */
export const visitsOf = (sites: readonly Site[], source: string): number =>
  sites.filter(({ file }) => file.includes(source)).reduce((sum, { reached }) => sum + reached, 0);
