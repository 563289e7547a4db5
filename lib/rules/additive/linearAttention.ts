// Linear attention: the additive fast weight programmer (Schmidhuber 1991; Katharopoulos et al. 2020; spec 2.2).
import { checkOptions, type OptionNames, type Tensor, scoped } from '../../core';
import { checkTensor } from '../../ops';
import { checkOneDtype } from '../recurrence/checks';
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

const name = 'linearAttention';

type Options = CommonOptions & NormalizeOptions;
type OneTokenOptions = StepOptions & NormalizeStepOptions;

const OPTIONS: OptionNames<Options> = { ...COMMON_OPTIONS, ...NORMALIZE_OPTIONS };
const ONE_TOKEN_OPTIONS: OptionNames<OneTokenOptions> = { ...STEP_OPTIONS, ...NORMALIZE_STEP_OPTIONS };

/** The two forms of a rule that sums k v^T, whose options have been checked. */
export interface SumForms {
  sequence(q: Tensor, k: Tensor, v: Tensor, options: Options): NormalizedResult;
  step(q: Tensor, k: Tensor, v: Tensor, options: OneTokenOptions): Tensor;
}

/** Those of the rule of a name; with `score`, what its features make of q . k of a width, a token's own score is read there. */
export function sumForms(where: string, score?: (product: Tensor, width: number) => Tensor): SumForms {
  const stepName = `${where}.step`;
  const plain = lowerRule<object>({ name: where, kind: {}, lower: (inputs) => inputs });
  const normalized = dividing((q, k, v, options: Options) => {
    const prepared = prepareKeys({ q, k, v }, options);
    const own = score ? (): Tensor => score(q.mul(k).sum(3, true), Math.max(1, q.shape[3])) : null;
    return normalizedAttention(where, prepared, options, own);
  });

  function sequence(q: Tensor, k: Tensor, v: Tensor, options: Options): NormalizedResult {
    checkNormalize(where, options);
    if (!options.normalize) return plain.sequence(q, k, v, options);
    checkOneDtype(where, { q, k, v });
    return normalized(q, k, v, options);
  }

  function step(q: Tensor, k: Tensor, v: Tensor, options: OneTokenOptions): Tensor {
    if (!options.normalize) return plain.step(q, k, v, options);
    checkTensor(stepName, 'normalizer', options.normalizer);
    const tokens = [q, k, v].map((t) => t.unsqueeze(1)) as [Tensor, Tensor, Tensor];
    return stepBySequence(
      stepName,
      q,
      options,
      (initial) => sequence(...tokens, { ...options, ...initial }),
      options.out,
    );
  }
  return { sequence, step };
}

const forms = sumForms(name);

function sequence(q: Tensor, k: Tensor, v: Tensor, options: Options = {}): NormalizedResult {
  checkOptions(name, options, OPTIONS);
  return forms.sequence(q, k, v, options);
}

function step(q: Tensor, k: Tensor, v: Tensor, options: OneTokenOptions): Tensor {
  checkOptions(`${name}.step`, options, ONE_TOKEN_OPTIONS);
  return forms.step(q, k, v, options);
}

/**
 * S_t = S_{t-1} + k_t v_t^T,  o_t = scale S_t^T q_t; with `normalize` divided by scale q_t . (sum of keys) + 1e-10. q and k
 * may be given a feature map. A step with `normalize` takes the sum of keys [B, HV, K] as `normalizer`.
 */
export const linearAttention = Object.assign(scoped(sequence) as NormalizedRule<object>, { step: scoped(step) });
