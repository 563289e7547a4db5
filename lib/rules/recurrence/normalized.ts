// Attention normalisation (spec 0.2): the sum z of keys, kept as a state whose values are all 1.
import { argumentError, checkNumber, formatShape, type OptionNames, type Tensor } from '../../core';
import { cat, checkFloat, computesInFloat32, ones, repeatHeads, zerosBeside } from '../../ops';
import { observed, tellMemory, unobserved } from '../observe';
import type { CommonOptions, RuleResult } from './operands';
import { runRecurrence } from './run';
import type { StepOptions } from './step';

/** Options of rules that can divide by the sum of keys. */
export interface NormalizeOptions {
  /** output = outputScale * scale S^T q / (scale q . z + normalizeEps), z the sum of keys so far. */
  normalize?: boolean;
  /** Added to the denominator, at least 0: 1e-10 by default, in `deltaRule` 1e-5, which also goes for its keys. */
  normalizeEps?: number;
  /** 1 by default. */
  outputScale?: number | null;
  /** z before the first token [N, HV, K]; with `normalize` it must be given with `initialState`. */
  initialNormalizer?: Tensor | null;
}

/** Those of them that one token takes, which finds the sum of keys before it in `normalizer`. */
export interface NormalizeStepOptions extends Omit<NormalizeOptions, 'initialNormalizer'> {
  /** z [N, HV, K], updated in place; required with `normalize`. */
  normalizer?: Tensor;
}

const SHARED = { normalize: 'flag', normalizeEps: true, outputScale: true } as const;
export const NORMALIZE_OPTIONS: OptionNames<NormalizeOptions> = { ...SHARED, initialNormalizer: true };
export const NORMALIZE_STEP_OPTIONS: OptionNames<NormalizeStepOptions> = { ...SHARED, normalizer: true };

/** With `normalize`, the final sum of keys [N, HV, K] when the final state is asked for. */
export type NormalizedResult<F extends boolean = boolean> = RuleResult<F> & { finalNormalizer?: Tensor };

/** A rule that can divide by the sum of keys; G are its gates. */
export interface NormalizedRule<G extends object> {
  <F extends boolean = false>(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    options?: CommonOptions<F> & NormalizeOptions & G,
  ): NormalizedResult<F>;
  /** One token; see the rule. */
  step(q: Tensor, k: Tensor, v: Tensor, options: StepOptions & NormalizeStepOptions & G): Tensor;
}

/** A normalised rule for bfloat16: all of it in float32, since it divides; its states stay float32. */
export function dividing<O extends object>(
  rule: (q: Tensor, k: Tensor, v: Tensor, options: O) => NormalizedResult,
): typeof rule {
  return computesInFloat32(rule, ({ output, ...states }) => ({ output: output.to('bfloat16'), ...states }));
}

/** Ones [B, T, heads, 1] beside `like`, without memory for each token. */
export function unitValues(like: Tensor, heads: number): Tensor {
  const [B, T] = like.shape;
  return ones([1], { dtype: like.dtype, device: like.device }).expand(B, T, heads, 1).contiguous();
}

/** Requires an eps of at least 0 and a finite scale. */
export function checkNormalize(where: string, { normalizeEps = 0, outputScale }: NormalizeOptions): void {
  checkNumber(where, 'normalizeEps', normalizeEps, 0);
  checkNumber(where, 'outputScale', outputScale ?? 1);
}

/** All that the numerator is divided by in the end. */
export function denominatorOf(denominator: Tensor, options: NormalizeOptions, eps: number): Tensor {
  return denominator.add(options.normalizeEps ?? eps).div(options.outputScale ?? 1);
}

/** Numerator [.., V] over denominator [.., 1]. */
export function divide(numerator: Tensor, denominator: Tensor, options: NormalizeOptions, eps: number): Tensor {
  const quotient = numerator.div(denominator.add(options.normalizeEps ?? eps));
  return options.outputScale == null ? quotient : quotient.mul(options.outputScale);
}

/** Sum of keys, as a state with one value column; null where none is given, which a state of tokens before requires. */
export function normalizerState(
  where: string,
  options: NormalizeOptions & Pick<CommonOptions, 'initialState'>,
): Tensor | null {
  const { initialNormalizer: z = null, initialState = null } = options;
  if (z === null) {
    if (initialState === null) return null;
    const expected = 'the sum of keys before, given with initialState';
    throw argumentError('INVALID_ARGUMENT', where, 'initialNormalizer', expected, 'nothing');
  }
  checkFloat(where, 'initialNormalizer', z);
  if (z.ndim !== 3) throw argumentError('SHAPE', where, 'initialNormalizer', '[N, HV, K]', formatShape(z.shape));
  return z.unsqueeze(3);
}

/**
 * Linear attention with a column of ones beside v, which collects the denominator. With `own`, the scores [B, T, H, 1] of tokens
 * with themselves, the state is read before a token is written: a score that products of features cancel to would be lost there.
 */
export function normalizedAttention(
  where: string,
  { q, k, v }: { q: Tensor; k: Tensor; v: Tensor },
  options: CommonOptions & NormalizeOptions,
  own: (() => Tensor) | null = null,
): NormalizedResult {
  const V = v.shape[3];
  const valuesAndOnes = cat([v, unitValues(v, v.shape[2])], 3);
  const given = options.initialState ?? null;
  if (given !== null) {
    checkFloat(where, 'initialState', given);
    if (given.ndim !== 4) {
      throw argumentError('SHAPE', where, 'initialState', '[N, HV, K, V]', formatShape(given.shape));
    }
  }
  const z = normalizerState(where, options);
  const initialState = z && cat([given ?? zerosBeside(q, [...z.shape.slice(0, 3), V], z.dtype), z], 3);
  const kind = own ? ({ read: 'before' } as const) : {};
  const { output: read, finalState } = unobserved(() =>
    runRecurrence(where, { q, k, v: valuesAndOnes }, { ...options, initialState }, kind),
  );
  const output = own ? read.add(valuesAndOnes.mul(repeatHeads(own(), v.shape[2]))) : read;
  if (observed() && !options.cuSeqlens) {
    tellMemory({
      rule: where,
      matrix: 'S',
      inputs: { q, k, v },
      kind: {},
      scale: options.scale ?? Math.max(1, q.shape[3]) ** -0.5,
      denominator: denominatorOf(output.slice(3, V), options, 1e-10),
      initialState: given,
    });
  }
  return {
    output: divide(output.slice(3, 0, V), output.slice(3, V), options, 1e-10),
    finalState: finalState?.slice(3, 0, V),
    finalNormalizer: finalState?.slice(3, V).squeeze(3),
  };
}
