// Linear attention: the additive fast weight programmer (Schmidhuber 1991; Katharopoulos et al. 2020; spec 2.2).
import { checkOptions, type OptionNames, type Tensor, scoped } from '../../core';
import { checkFloat } from '../../ops';
import { lowerRule, stepBySequence } from '../recurrence/define';
import {
  checkNormalize,
  dividing,
  NORMALIZE_OPTIONS,
  NORMALIZE_STEP_OPTIONS,
  normalizedAttention,
  type NormalizedResult,
  type NormalizedRule,
  type NormalizeOptions,
  type NormalizeStepOptions,
} from '../recurrence/normalized';
import { COMMON_OPTIONS, type CommonOptions } from '../recurrence/operands';
import { prepareKeys } from '../recurrence/prepare';
import { STEP_OPTIONS, type StepOptions } from '../recurrence/step';

const where = 'linearAttention';

type Options = CommonOptions & NormalizeOptions;
type OneTokenOptions = StepOptions & NormalizeStepOptions;

const OPTIONS: OptionNames<Options> = { ...COMMON_OPTIONS, ...NORMALIZE_OPTIONS };
const ONE_TOKEN_OPTIONS: OptionNames<OneTokenOptions> = { ...STEP_OPTIONS, ...NORMALIZE_STEP_OPTIONS };

const plain = lowerRule<object>({ name: where, kind: {}, lower: (inputs) => inputs });

const normalized = dividing((q, k, v, options: Options) =>
  normalizedAttention(where, prepareKeys({ q, k, v }, options), options),
);

function run(q: Tensor, k: Tensor, v: Tensor, options: Options): NormalizedResult {
  checkNormalize(where, options);
  if (!options.normalize) return plain.sequence(q, k, v, options);
  for (const [name, t] of [
    ['q', q],
    ['k', k],
    ['v', v],
  ] as const)
    checkFloat(where, name, t);
  return normalized(q, k, v, options);
}

function sequence(q: Tensor, k: Tensor, v: Tensor, options: Options = {}): NormalizedResult {
  checkOptions(where, options, OPTIONS);
  return run(q, k, v, options);
}

function step(q: Tensor, k: Tensor, v: Tensor, options: OneTokenOptions): Tensor {
  checkOptions('linearAttention.step', options, ONE_TOKEN_OPTIONS);
  if (!options.normalize) return plain.step(q, k, v, options);
  const tokens = [q, k, v].map((t) => t.unsqueeze(1)) as [Tensor, Tensor, Tensor];
  return stepBySequence(
    'linearAttention.step',
    q,
    options,
    (initial) => run(...tokens, { ...options, ...initial }),
    options.out,
  );
}

/**
 * S_t = S_{t-1} + k_t v_t^T,  o_t = scale S_t^T q_t; with `normalize` divided by scale q_t . (sum of keys) + 1e-10. q and k
 * may be given a feature map. A step with `normalize` takes the sum of keys [B, HV, K] as `normalizer`.
 */
export const linearAttention = Object.assign(scoped(sequence) as NormalizedRule<object>, { step: scoped(step) });
