// The sparse experts of Qwen: a softmax over all of them, and a shared one behind a gate.
import type { OptionNames, Tensor } from '../../core';
import { Linear, SwiGLU } from '../../nn';
import type { TensorOptions } from '../../ops';
import type { Configuration, ConfigurationReader, JsonObject } from '../common/configuration';
import { SeparateExperts, StackedExperts } from '../common/experts';
import type { Count, Flag, Name } from '../common/keys';
import { MixtureOfExperts } from '../common/mixtureOfExperts';
import type { FilledSizes } from '../common/registry';
import { readExperts, Router, type RoutingShape } from '../common/routing';

/** Keys of those with experts. */
export interface QwenExpertKeys {
  /** Experts of a layer. */
  numExperts?: Count;
  /** Experts that a token goes to. */
  numExpertsPerTok?: Count;
  /** Width of each expert, 512 by default. */
  moeIntermediateSize?: Count;
  /** Width of the expert that every token goes to, 512 by default. */
  sharedExpertIntermediateSize?: Count;
  /** How the experts lie in the weights: a module each, or all in two tensors. The weights of a folder decide for themselves. */
  expertsLayout?: Name<ExpertsLayout>;
  /** Changes nothing here: the loss has no such term. It is saved again. */
  routerAuxLossCoef?: Count;
  /** Changes nothing here: logits of routers are not returned. It is saved again. */
  outputRouterLogits?: Flag;
}

export const QWEN_EXPERT_KEYS: OptionNames<QwenExpertKeys> = {
  numExperts: true,
  numExpertsPerTok: true,
  moeIntermediateSize: true,
  sharedExpertIntermediateSize: true,
  expertsLayout: true,
  routerAuxLossCoef: true,
  outputRouterLogits: 'flag',
};

const LAYOUTS = ['separate', 'stacked'] as const;

export type ExpertsLayout = (typeof LAYOUTS)[number];

/** The experts of a layer. */
export interface QwenExperts {
  readonly routing: RoutingShape;
  /** Width of each expert. */
  readonly width: number;
  /** Width of the one that every token goes to. */
  readonly sharedWidth: number;
  readonly layout: ExpertsLayout;
}

/** Softmax over all experts, of which the best are taken. */
export function readQwenExperts(
  reader: ConfigurationReader,
  defaults: { count: number; perToken: number; layout: ExpertsLayout },
  normalise: boolean,
): QwenExperts {
  const sizes = readExperts(reader, { count: 'num_experts', perToken: 'num_experts_per_tok' }, defaults);
  return {
    routing: {
      ...sizes,
      scores: 'softmax',
      normalise,
      factor: 1,
      groups: 1,
      groupsPerToken: 1,
      correctionBias: false,
    },
    width: reader.size('moe_intermediate_size', 512),
    sharedWidth: reader.size('shared_expert_intermediate_size', 512),
    layout: reader.choice('experts_layout', defaults.layout, LAYOUTS),
  };
}

/** Which layout the weights of a folder have, as a key of its configuration. */
export function expertsLayoutOf(names: Iterable<string>): JsonObject {
  for (const name of names) {
    if (name.endsWith('.experts.gate_up_proj')) return { experts_layout: 'stacked' };
    if (/\.experts\.\d+\.gate_proj\.weight$/.test(name)) return { experts_layout: 'separate' };
  }
  return {};
}

/** sigmoid(shared_expert_gate x) shared_expert(x) beside the experts that the router chooses. */
export class QwenMixture extends MixtureOfExperts {
  /** What every token goes through. */
  shared_expert: SwiGLU;
  /** How much of it, before a sigmoid; weight [1, hiddenSize]. */
  shared_expert_gate: Linear;

  constructor({ hiddenSize, initializerRange }: Configuration, shape: QwenExperts, options: TensorOptions = {}) {
    const { routing, width, sharedWidth, layout } = shape;
    const experts =
      layout === 'stacked'
        ? new StackedExperts(routing.numExperts, hiddenSize, width, { std: initializerRange, ...options })
        : new SeparateExperts(routing.numExperts, hiddenSize, width, options);
    super(new Router(hiddenSize, routing, options), experts);
    this.shared_expert = new SwiGLU(hiddenSize, sharedWidth, options);
    this.shared_expert_gate = new Linear(hiddenSize, 1, { bias: false, ...options });
  }

  protected override shared(rows: Tensor): Tensor {
    return this.shared_expert.forward(rows).mul(this.shared_expert_gate.forward(rows).sigmoid());
  }
}

/** Four experts, of which a token goes to two, together as wide as a feed-forward. */
export function qwenExpertSizes({ feedForward }: FilledSizes): QwenExpertKeys {
  const width = Math.ceil(feedForward / 4);
  return { numExperts: 4, numExpertsPerTok: 2, moeIntermediateSize: width, sharedExpertIntermediateSize: width };
}
