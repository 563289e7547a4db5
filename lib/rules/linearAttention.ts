// Linear attention: the additive fast weight programmer (Schmidhuber 1991; Katharopoulos et al. 2020; spec 2.2).
import { type Tensor, tidy } from '../core';
import { checkFloat } from '../ops';
import { defineRule, stepBySequence } from './define';
import { dividing, normalizedAttention, type NormalizedResult, type NormalizeOptions } from './normalized';
import type { CommonOptions } from './operands';
import { prepareKeys } from './prepare';
import type { StepOptions } from './step';

const plain = defineRule<object>({ name: 'linearAttention', kind: {}, lower: (inputs) => inputs });

const normalized = dividing((q, k, v, options: CommonOptions & NormalizeOptions) =>
  normalizedAttention('linearAttention', prepareKeys({ q, k, v }, options), options),
);

function sequence(q: Tensor, k: Tensor, v: Tensor, options: CommonOptions & NormalizeOptions = {}): NormalizedResult {
  if (!options.normalize) return plain(q, k, v, options);
  for (const [name, t] of [
    ['q', q],
    ['k', k],
    ['v', v],
  ] as const)
    checkFloat('linearAttention', name, t);
  return normalized(q, k, v, options);
}

function step(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: StepOptions & CommonOptions & NormalizeOptions & { normalizer?: Tensor },
): Tensor {
  if (!options.normalize) return plain.step(q, k, v, options);
  const tokens = [q, k, v].map((t) => t.unsqueeze(1)) as [Tensor, Tensor, Tensor];
  return stepBySequence(
    'linearAttention.step',
    q,
    options,
    (initial) => sequence(...tokens, { ...options, ...initial }),
    options.out,
  );
}

/**
 * S_t = S_{t-1} + k_t v_t^T,  o_t = scale S_t^T q_t; with `normalize` divided by scale q_t . (sum of keys) + 1e-10. q and k
 * may be given a feature map. A step with `normalize` takes the sum of keys [B, HV, K] as `normalizer`.
 */
export const linearAttention = Object.assign(tidy(sequence), { step });
