// The delta rule: DeltaNet (Schlag et al. 2021; Yang et al. 2024), Gated DeltaNet, KDA (spec 2.3, 2.13.9, 2.13.10).
import { checkOptions, type OptionNames, type Tensor, scoped } from '../../core';
import { checkAlikeOrWider, checkFloat, checkTensor, repeatHeads, tensor } from '../../ops';
import { checkOneDtype } from '../recurrence/checks';
import { observed, tellMemory, unobserved } from '../observe';
import { checkLike, lowerRule, stepBySequence } from '../recurrence/define';
import {
  checkNormalize,
  denominatorOf,
  divide,
  dividing,
  NORMALIZE_OPTIONS,
  NORMALIZE_STEP_OPTIONS,
  type NormalizedResult,
  type NormalizedRule,
  type NormalizeOptions,
  normalizerState,
  type NormalizeStepOptions,
  unitValues,
} from '../recurrence/normalized';
import { COMMON_OPTIONS, type CommonOptions } from '../recurrence/operands';
import { prepareKeys } from '../recurrence/prepare';
import { runRecurrence } from '../recurrence/run';
import { STEP_OPTIONS, type StepOptions } from '../recurrence/step';

/** Gates of the delta rule. */
export interface DeltaGates {
  /** Strength of the write [B, T, HV] or [B, T, HV, V]; 1 by default. */
  beta?: Tensor | null;
  /** Log of the decay: none (DeltaNet), [B, T, HV] (Gated DeltaNet), [B, T, HV, K] (KDA). */
  gate?: Tensor | null;
}

const plain = lowerRule<DeltaGates>({
  name: 'deltaRule',
  kind: { eraseFrom: 'decayed' },
  lower: ({ q, k, v }, { beta, gate }) => ({ q, k, v, beta, gate }),
});

type DeltaOptions = CommonOptions & DeltaGates & NormalizeOptions;
type DeltaStepOptions = StepOptions & DeltaGates & NormalizeStepOptions;

const GATES: OptionNames<DeltaGates> = { beta: true, gate: true };
const OPTIONS: OptionNames<DeltaOptions> = { ...COMMON_OPTIONS, ...GATES, ...NORMALIZE_OPTIONS };
const ONE_TOKEN_OPTIONS: OptionNames<DeltaStepOptions> = { ...STEP_OPTIONS, ...GATES, ...NORMALIZE_STEP_OPTIONS };

/**
 * With `normalize` (Schlag et al. 2021, eqs. 26 to 28): key k / (d + eps) and strength beta d, d = z_{t-1} . k (1 at the
 * first token when no state is given), then the output over z_t . q.
 */
const normalized = dividing((q: Tensor, k: Tensor, v: Tensor, options: DeltaOptions): NormalizedResult => {
  const where = 'deltaRule';
  const HV = v.shape[2];
  const repeat = (t: Tensor): Tensor => repeatHeads(t, HV);
  const prepared = prepareKeys({ q: repeat(q), k: repeat(k) }, options);
  const keys = prepared.k;
  const { cuSeqlens } = options;
  const units = unitValues(keys, HV);
  const initialState = normalizerState(where, options);
  const before = unobserved(() =>
    runRecurrence(where, { q: keys, k: keys, v: units }, { scale: 1, cuSeqlens, initialState }, { read: 'before' }),
  ).output;
  const d = initialState ? before : before.add(firstTokens(before, cuSeqlens ?? null));
  const beta = options.beta ?? units.reshape(units.shape.slice(0, 3));
  const strength = beta.mul(beta.ndim === 4 ? d : d.reshape(d.shape.slice(0, 3)));
  const written = keys.div(d.add(options.normalizeEps ?? 1e-5));
  const { output, finalState } = unobserved(() =>
    plain.sequence(prepared.q, written, v, {
      ...options,
      beta: strength,
      featureMap: null,
      sumNorm: false,
      qkL2Norm: false,
    }),
  );
  const sums = { q: prepared.q, k: keys, v: units };
  const { outputFinalState } = options;
  const scale = options.scale ?? Math.max(1, keys.shape[3]) ** -0.5;
  const denominator = unobserved(() =>
    runRecurrence(where, sums, { scale, cuSeqlens, initialState, outputFinalState }, {}),
  );
  if (observed() && !cuSeqlens) {
    tellMemory({
      rule: where,
      matrix: 'S',
      inputs: { q: prepared.q, k: written, v, beta: strength, gate: options.gate },
      kind: { eraseFrom: 'decayed' },
      scale,
      denominator: denominatorOf(denominator.output, options, 1e-5),
      initialState: options.initialState ?? null,
    });
  }
  return {
    output: divide(output, denominator.output, options, 1e-5),
    finalState,
    finalNormalizer: denominator.finalState?.squeeze(3),
  };
});

/** 1 at the first token of every sequence, else 0: [1, T, 1, 1]. */
function firstTokens(like: Tensor, cuSeqlens: readonly number[] | null): Tensor {
  const mask = new Float32Array(like.shape[1]);
  for (const start of cuSeqlens ?? [0]) if (start < mask.length) mask[start] = 1;
  return tensor(mask, { shape: [1, mask.length, 1, 1], dtype: like.dtype, device: like.device });
}

function sequence(q: Tensor, k: Tensor, v: Tensor, options: DeltaOptions = {}): NormalizedResult {
  checkOptions('deltaRule', options, OPTIONS);
  return run(q, k, v, options);
}

function run(q: Tensor, k: Tensor, v: Tensor, options: DeltaOptions): NormalizedResult {
  checkNormalize('deltaRule', options);
  if (!options.normalize) return plain.sequence(q, k, v, options);
  checkOneDtype('deltaRule', { q, k, v });
  if (options.beta !== undefined && options.beta !== null) {
    checkFloat('deltaRule', 'beta', options.beta);
    checkAlikeOrWider('deltaRule', 'beta', options.beta, q, 'q');
    checkLike('deltaRule', 'beta', options.beta, options.beta.ndim === 4 ? v : v.slice(3, 0, 1).squeeze(3));
  }
  return normalized(q, k, v, options);
}

function step(q: Tensor, k: Tensor, v: Tensor, options: DeltaStepOptions): Tensor {
  checkOptions('deltaRule.step', options, ONE_TOKEN_OPTIONS);
  return options.normalize ? normalizedStep(q, k, v, options) : plain.step(q, k, v, options);
}

const normalizedStep = scoped((q: Tensor, k: Tensor, v: Tensor, options: DeltaStepOptions): Tensor => {
  for (const name of ['beta', 'gate'] as const) {
    if (options[name] !== undefined && options[name] !== null) checkFloat('deltaRule.step', name, options[name]);
  }
  checkTensor('deltaRule.step', 'normalizer', options.normalizer);
  const [tq, tk, tv] = [q, k, v].map((t) => t.unsqueeze(1));
  const gates = { beta: options.beta?.unsqueeze(1), gate: options.gate?.unsqueeze(1) };
  return stepBySequence(
    'deltaRule.step',
    q,
    options,
    (initial) => run(tq, tk, tv, { ...options, ...gates, ...initial }),
    options.out,
  );
});

/**
 * S~ = exp(gate_t) S_{t-1},  S_t = S~ + beta_t k_t (v_t - S~^T k_t)^T,  o_t = scale S_t^T q_t. Keys should have unit length
 * (`qkL2Norm`) or features that sum to 1. A step with `normalize` takes the sum of keys [B, HV, K] as `normalizer`.
 */
export const deltaRule = Object.assign(scoped(sequence) as NormalizedRule<DeltaGates>, { step });
