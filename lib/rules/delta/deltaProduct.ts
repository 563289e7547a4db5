// DeltaProduct: several delta steps per token (Siems et al. 2025; spec 2.13.12, 2.14 i).
import {
  argumentError,
  checkInteger,
  checkOptions,
  formatShape,
  type OptionNames,
  type Tensor,
  scoped,
} from '../../core';
import { cat, checkCuSeqlens, checkFloat, zerosBeside } from '../../ops';
import { deltaRule } from './deltaRule';
import { checkOneDtype } from '../recurrence/checks';
import { stepBySequence } from '../recurrence/define';
import { COMMON_OPTIONS, type CommonOptions, type RuleResult } from '../recurrence/operands';
import { prepareKeys } from '../recurrence/prepare';
import { STEP_OPTIONS, type StepOptions } from '../recurrence/step';

/** Inputs of DeltaProduct beside q, k, v. */
export interface DeltaProductGates {
  /** Steps per token, n; k, v and beta hold n rows for each token, next to each other. */
  numHouseholder: number;
  /** [B, T n, HV] */
  beta?: Tensor | null;
  /** [B, T, HV], applied once per token, before its first step. */
  gate?: Tensor | null;
}

/** Options of `deltaProduct`; `numHouseholder` must be given. */
export type DeltaProductOptions<F extends boolean = boolean> = CommonOptions<F> & DeltaProductGates;

const GATES: OptionNames<DeltaProductGates> = { numHouseholder: true, beta: true, gate: true };
const OPTIONS: OptionNames<DeltaProductOptions> = { ...COMMON_OPTIONS, ...GATES };
const ONE_TOKEN_OPTIONS: OptionNames<StepOptions & DeltaProductGates> = { ...STEP_OPTIONS, ...GATES };

/** [B, T, ...] to [B, T n, ...], the token's row at one of its n steps and zeros at the others. */
function spread(x: Tensor, n: number, at: 'first' | 'last'): Tensor {
  if (n === 1) return x;
  const [B, T, ...rest] = x.shape;
  const blank = zerosBeside(x, [B, T, n - 1, ...rest]);
  const rows = cat(at === 'first' ? [x.unsqueeze(2), blank] : [blank, x.unsqueeze(2)], 2);
  return rows.reshape(B, T * n, ...rest);
}

function sequence(q: Tensor, k: Tensor, v: Tensor, options: DeltaProductOptions): RuleResult {
  const where = 'deltaProduct';
  checkOptions(where, options, OPTIONS);
  const { numHouseholder, ...common } = options;
  const n = checkInteger(where, 'numHouseholder', numHouseholder, 1);
  checkOneDtype(where, { q, k, v });
  for (const [name, t] of [
    ['q', q],
    ['k', k],
    ['v', v],
  ] as const) {
    if (t.ndim !== 4) throw argumentError('SHAPE', where, name, '[B, T, heads, width]', formatShape(t.shape));
  }
  const [B, T] = q.shape;
  for (const [name, t] of [
    ['k', k],
    ['v', v],
    ['beta', options.beta],
  ] as const) {
    if (t !== undefined && t !== null) checkFloat(where, name, t);
    if (t && t.shape[1] !== T * n)
      throw argumentError('SHAPE', where, name, `[${B}, ${T * n}, ...] (${n} steps per token)`, formatShape(t.shape));
  }
  const { gate, cuSeqlens = null } = options;
  if (cuSeqlens !== null) checkCuSeqlens(where, cuSeqlens, B, T);
  if (gate !== undefined && gate !== null) checkFloat(where, 'gate', gate);
  if (gate && (gate.ndim !== 3 || gate.shape[1] !== T))
    throw argumentError('SHAPE', where, 'gate', `[${B}, ${T}, heads]`, formatShape(gate.shape));
  const prepared = prepareKeys({ q, k }, options);
  const { output, finalState } = deltaRule(spread(prepared.q, n, 'last'), prepared.k, v, {
    ...common,
    featureMap: null,
    sumNorm: false,
    qkL2Norm: false,
    scale: options.scale ?? Math.max(1, prepared.k.shape[3]) ** -0.5,
    gate: gate && spread(gate, n, 'first'),
    cuSeqlens: cuSeqlens && Array.from(cuSeqlens, (t) => t * n),
  });
  const [, , HV, V] = output.shape;
  const last = output
    .reshape(B, T, n, HV, V)
    .slice(2, n - 1)
    .squeeze(2);
  return { output: last, finalState };
}

/** One token: q [B, H, K]; k, v, beta [B, n, heads, *]; gate [B, HV]. */
function step(q: Tensor, k: Tensor, v: Tensor, options: StepOptions & DeltaProductGates): Tensor {
  checkOptions('deltaProduct.step', options, ONE_TOKEN_OPTIONS);
  const { state, out, ...rest } = options;
  if (rest.gate !== undefined && rest.gate !== null) checkFloat('deltaProduct.step', 'gate', rest.gate);
  const gate = rest.gate?.unsqueeze(1);
  return stepBySequence(
    'deltaProduct.step',
    q,
    { state },
    ({ initialState }) => sequence(q.unsqueeze(1), k, v, { ...rest, gate, initialState, outputFinalState: true }),
    out,
  );
}

type DeltaProduct = <F extends boolean = false>(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: DeltaProductOptions<F>,
) => RuleResult<F>;

/**
 * For each token the decay exp(gate), then n delta steps S += beta_i k_i (v_i - S^T k_i)^T, then the read. beta in (0, 2)
 * makes each step a generalised Householder reflection. cuSeqlens counts tokens.
 */
export const deltaProduct = Object.assign(scoped(sequence) as DeltaProduct, { step: scoped(step) });
