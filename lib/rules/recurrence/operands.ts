// The arguments of a rule: what they are called and which shapes they have.
import type { OptionNames, Tensor } from '../../core';
import {
  type CuSeqlens,
  FEATURE_MAP_OPTIONS,
  type FeatureMapOptions,
  needsFloat32,
  toFloat32,
  type WithFinalState,
} from '../../ops';

/**
 * Tensors of the general recurrence (spec 4.1); [B, T, ...] in a sequence, [B, ...] in one step. All have the dtype of q;
 * beside bfloat16 they may be float32, which gates and strengths are better for.
 */
export interface RecurrenceInputs {
  /** [B, T, H, K] */
  q: Tensor;
  /** [B, T, H, K] */
  k: Tensor;
  /** [B, T, HV, V] with HV a multiple of H. */
  v: Tensor;
  /** Log of the decay along keys: [B, T, HV] or [B, T, HV, K] (H heads are allowed, too). */
  gate?: Tensor | null;
  /** Log of the decay along values [B, T, HV, V]; keys and values then change places (Oja's rule, spec 2.13.13). */
  valueGate?: Tensor | null;
  /** Strength of the write: [B, T, HV] or [B, T, HV, V]; 1 by default. */
  beta?: Tensor | null;
  /** Key of what is erased [B, T, H, K]; k by default. */
  eraseKey?: Tensor | null;
  /** Key of what is written [B, T, H, K]; k by default. */
  writeKey?: Tensor | null;
  /** With read 'before': weight of the present token [H, K]. */
  bonus?: Tensor | null;
}

export const INPUTS: OptionNames<RecurrenceInputs> = {
  q: true,
  k: true,
  v: true,
  gate: true,
  valueGate: true,
  beta: true,
  eraseKey: true,
  writeKey: true,
  bonus: true,
};

/** Options of what happens to q, k and the output, over a sequence and in one step alike. */
export interface TokenOptions extends FeatureMapOptions {
  /** Multiplies the output; K ** -0.5 by default, K being the width of the mapped key. */
  scale?: number | null;
  /** Divide q and k by sqrt(sum x^2 + 1e-6) first. */
  qkL2Norm?: boolean;
}

export const TOKEN_OPTIONS: OptionNames<TokenOptions> = { ...FEATURE_MAP_OPTIONS, scale: true, qkL2Norm: 'flag' };

/** Options that every rule shares. */
export interface CommonOptions<F extends boolean = boolean> extends TokenOptions {
  /** [N, HV, K, V] float32, beside bfloat16 inputs bfloat16, too; zeros by default. */
  initialState?: Tensor | null;
  /** Also return the state after the last token. */
  outputFinalState?: F;
  /** Packed sequences: B = 1 and N + 1 offsets. */
  cuSeqlens?: CuSeqlens | null;
  /** 'chunk' is the parallel form for training, 'recurrent' the plain token loop; 'auto' picks. */
  mode?: 'auto' | 'chunk' | 'recurrent';
  /** Tokens between the states kept for the backward pass; 64 by default. */
  chunkSize?: 16 | 32 | 64;
}

export const COMMON_OPTIONS: OptionNames<CommonOptions> = {
  ...TOKEN_OPTIONS,
  initialState: true,
  outputFinalState: 'flag',
  cuSeqlens: true,
  mode: true,
  chunkSize: true,
};

/** What kind of recurrence it is. */
export interface RecurrenceKind {
  /** Where the erased part is read: 'none' by default. */
  eraseFrom?: 'none' | 'decayed' | 'undecayed';
  /** The bracketed write erases only, and k v^T is added beside it (DPLR, spec 2.14 g). */
  secondWrite?: boolean;
  /** Whether the output reads the state after the token was written (default) or before. */
  read?: 'after' | 'before';
}

export const KIND: OptionNames<RecurrenceKind> = { eraseFrom: true, secondWrite: 'flag', read: true };

/** What a rule returns: output [B, T, HV, V]; finalState [N, HV, K, V] float32 when asked for. */
export type RuleResult<F extends boolean = boolean> = { output: Tensor } & WithFinalState<F>;

/** The operands in a dtype that the device computes in: bfloat16 ones in float32 where that is needed. */
export function computableInputs(inputs: RecurrenceInputs): RecurrenceInputs {
  if (!needsFloat32(inputs.q)) return inputs;
  const operands = Object.entries(inputs).map(([name, t]: [string, Tensor | null | undefined]) => [name, toFloat32(t)]);
  return Object.fromEntries(operands) as RecurrenceInputs;
}
