// Parts for `composeFastWeights`: a linear slow net, additive and delta updates, a linear fast net.
import {
  argumentError,
  checkChoice,
  checkInteger,
  checkNumber,
  checkOptions,
  describe,
  type OptionNames,
  type Tensor,
} from '../../core';
import { checkTensor, FEATURE_MAP_OPTIONS, type FeatureMapOptions, linear, mapFeatures, split } from '../../ops';
import { recurrence } from '../recurrence/general';
import type { Given } from '../sequential/shapes';
import type { FastNet, Program, SlowNet, UpdateRule } from './compose';

/** Squashing functions of fast weights and outputs; `sigmoidSteep` is 1 / (1 + exp(-steepness (z - 1/2))). */
export const SQUASHES = ['identity', 'tanh', 'sigmoid', 'relu', 'sigmoidSteep'] as const;
/** The name of one of them. */
export type SquashName = (typeof SQUASHES)[number];

/** What a part squashes with. */
export interface SquashOptions {
  /** 'identity' by default. */
  activation?: SquashName;
  /** Of 'sigmoidSteep': 1 by default, and nothing else of the other functions, which have none. */
  steepness?: number;
}

export const SQUASH_OPTIONS: OptionNames<SquashOptions> = { activation: true, steepness: true };

/** Both, checked, with their defaults. */
export function squashSettings(where: string, options: SquashOptions): Required<SquashOptions> {
  const activation = checkChoice(where, 'activation', options.activation ?? 'identity', SQUASHES);
  const steepness = checkNumber(where, 'steepness', options.steepness ?? 1);
  // The stored vectors name the 1 of functions without one, too.
  if (activation !== 'sigmoidSteep' && steepness !== 1) {
    const expected = `left out with activation '${activation}', for it is that of 'sigmoidSteep'`;
    throw argumentError('INVALID_ARGUMENT', where, 'steepness', expected, describe(steepness));
  }
  return { activation, steepness };
}

/** z squashed. */
export function squash(z: Tensor, { activation, steepness }: Required<SquashOptions>): Tensor {
  switch (activation) {
    case 'identity':
      return z;
    case 'sigmoidSteep':
      return z.add(-0.5).mul(steepness).sigmoid();
    default:
      return z[activation]();
  }
}

type FastState = { readonly state: string };

/** k v^T [B, H, K, V] of one token. */
const outer = (k: Tensor, v: Tensor): Tensor => k.unsqueeze(3).mul(v.unsqueeze(2));

/** S^T q [B, H, V] of one token. */
const readState = (state: Tensor, q: Tensor): Tensor => q.unsqueeze(2).matmul(state).squeeze(2);

/** The instructions of an update with keys: [B, T, H, K], [B, T, H, K], [B, T, H, V]. */
interface KeyedProgram extends Program {
  q: Tensor;
  k: Tensor;
  v: Tensor;
}

/** Requires of a program what a part reads from it. */
function checkInstructions(where: string, program: Partial<Program>, names: readonly string[]): void {
  for (const name of names) checkTensor(where, `program.${name}`, program[name]);
}

/**
 * S_t = squash(S_{t-1} + k_t v_t^T), of a program with q, k, v. Without squashing it is the general recurrence: linear
 * attention.
 */
export function sumUpdate(options: SquashOptions = {}): UpdateRule<FastState, KeyedProgram> {
  checkOptions('sumUpdate', options, SQUASH_OPTIONS);
  const settings = squashSettings('sumUpdate', options);
  const write: UpdateRule<FastState, KeyedProgram>['write'] = ({ state }, token) => {
    checkInstructions('sumUpdate', token, ['k', 'v']);
    return { state: squash(state.add(outer(token.k, token.v)), settings) };
  };
  if (settings.activation !== 'identity') return { write };
  return {
    write,
    sequence: (program, initialState, read) => {
      checkInstructions('sumUpdate', program, ['q', 'k', 'v']);
      const { q, k, v } = program;
      return recurrence({ q, k, v }, { scale: 1, read, initialState, outputFinalState: true });
    },
  };
}

/** S_t = S_{t-1} + beta_t k_t (v_t - S_{t-1}^T k_t)^T, of a program with q, k, v and beta [B, T, H]: the general recurrence. */
export function deltaUpdate(): UpdateRule<FastState, KeyedProgram & { beta: Tensor }> {
  return {
    write: ({ state }, token) => {
      checkInstructions('deltaUpdate', token, ['k', 'v', 'beta']);
      const { k, v, beta } = token;
      return { state: state.add(outer(k, v.sub(readState(state, k)).mul(beta.unsqueeze(2)))) };
    },
    sequence: (program, initialState, read) => {
      checkInstructions('deltaUpdate', program, ['q', 'k', 'v', 'beta']);
      const { q, k, v, beta } = program;
      const options = { scale: 1, read, eraseFrom: 'decayed', initialState, outputFinalState: true } as const;
      return recurrence({ q, k, v, beta }, options);
    },
  };
}

/** Options of `linearFastNet`. */
export interface LinearFastNetOptions extends SquashOptions {
  /** Width of the keys and queries, after their feature map. */
  keyDim: number;
  /** Width of the values. */
  valueDim: number;
  /** 1 by default. */
  heads?: number;
  /** Multiplies S^T q: 1 by default. */
  scale?: number;
}

const FAST: OptionNames<LinearFastNetOptions> = {
  ...SQUASH_OPTIONS,
  keyDim: true,
  valueDim: true,
  heads: true,
  scale: true,
};

/** y_t = squash(scale S^T q_t), of one layer whose weights are `state` [B, heads, keyDim, valueDim]: [B, T, heads, valueDim]. */
export function linearFastNet(options: LinearFastNetOptions): FastNet<FastState, { q: Tensor }> {
  const where = 'linearFastNet';
  checkOptions(where, options, FAST);
  const sizes = [options.heads ?? 1, options.keyDim, options.valueDim];
  ['heads', 'keyDim', 'valueDim'].forEach((size, i) => checkInteger(where, size, sizes[i], 1));
  return linearReadout(
    `B ${sizes.join(' ')}`,
    squashSettings(where, options),
    checkNumber(where, 'scale', options.scale ?? 1),
  );
}

/** The same with a shape in letters. */
export function linearReadout(
  shape: string,
  settings: Required<SquashOptions>,
  scale: number,
): Required<FastNet<FastState, { q: Tensor }>> {
  const readout = (output: Tensor): Tensor => squash(scale === 1 ? output : output.mul(scale), settings);
  const read: FastNet<FastState, { q: Tensor }>['read'] = ({ state }, token) => {
    checkInstructions('linearFastNet', token, ['q']);
    return readout(readState(state, token.q));
  };
  return { weights: { state: shape }, readout, read };
}

/** What a linear slow net can say. */
export type Instruction = 'q' | 'k' | 'v' | 'beta';

/** Options of `linearSlowNet`. */
export interface LinearSlowNetOptions<N extends Instruction = Instruction> extends FeatureMapOptions {
  /** Width of q and k, before their feature map. */
  keyDim: number;
  /** Width of v. */
  valueDim: number;
  /** 1 by default. */
  heads?: number;
  /** Which rows of a head stand where: q, k, v, beta by default. */
  split?: readonly N[];
}

const SLOW: OptionNames<LinearSlowNetOptions> = {
  ...FEATURE_MAP_OPTIONS,
  keyDim: true,
  valueDim: true,
  heads: true,
  split: true,
};

/** Requires a list of q, k, v and perhaps beta, each once. */
export function checkSplit(where: string, split: unknown): asserts split is readonly Instruction[] {
  const given: unknown[] = Array.isArray(split) ? split : [];
  const known = ['q', 'k', 'v', 'beta'];
  const once = new Set(given).size === given.length && given.every((name) => known.includes(name as string));
  if (once && ['q', 'k', 'v'].every((name) => given.includes(name))) return;
  throw argumentError('INVALID_ARGUMENT', where, 'split', 'q, k, v and, or not, beta in some order', describe(split));
}

type LinearInputs = { readonly x: string; readonly Ws: string; readonly bs: `${string}?` };

/**
 * Ws x_t + bs, split into what the update rule and the fast net want: x [B, T, I], Ws [heads (2 keyDim + valueDim + 1), I],
 * its rows head by head, bs (none by default). q and k go through the feature map; beta through a sigmoid where there is
 * a feature map other than 'identity', and is the strength itself where there is none.
 */
export function linearSlowNet<const N extends Instruction = Instruction>(
  options: LinearSlowNetOptions<N>,
): SlowNet<LinearInputs, Readonly<Record<N, Tensor>>> {
  const where = 'linearSlowNet';
  checkOptions(where, options, SLOW);
  const { keyDim, valueDim, heads = 1, split: order = ['q', 'k', 'v', 'beta'], ...map } = options;
  checkInteger(where, 'keyDim', keyDim, 1);
  checkInteger(where, 'valueDim', valueDim, 1);
  checkInteger(where, 'heads', heads, 1);
  checkSplit(where, order);
  const widths = { q: keyDim, k: keyDim, v: valueDim, beta: 1 };
  const perHead = order.reduce((sum, name) => sum + widths[name], 0);
  const mapped = (map.featureMap ?? 'identity') !== 'identity';
  const activations: Record<Instruction, (t: Tensor) => Tensor> = {
    q: (t) => mapFeatures(t, map),
    k: (t) => mapFeatures(t, map),
    v: (t) => t,
    beta: (t) => (mapped ? t.squeeze(3).sigmoid() : t.squeeze(3)),
  };
  return {
    inputs: { x: 'B T I', Ws: `${heads * perHead} I`, bs: `${heads * perHead}?` },
    program({ x, Ws, bs }: Given<LinearInputs>) {
      const all = linear(x, Ws, bs).reshape([x.shape[0], x.shape[1], heads, perHead]);
      const parts = split(
        all,
        order.map((name) => widths[name]),
        3,
      );
      return Object.fromEntries(order.map((name, i) => [name, activations[name](parts[i])])) as Record<N, Tensor>;
    },
  };
}
