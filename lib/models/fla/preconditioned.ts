// What the layers of preconditioned delta rules have in common: keys of configurations, the rule, and its curvature of the keys.
import { noGrad } from '../../autograd';
import { checkNumber, type OptionNames, type Tensor } from '../../core';
import { type Linear, parameter } from '../../nn';
import { full, gatedDeltaNetGate, type TensorOptions, toFloat32 } from '../../ops';
import { preconditionedDeltaRule } from '../../rules';
import type { ConfigurationReader } from '../common/configuration';
import type { MixerRule, RuleInputs } from '../common/fastWeightMixer';
import { decayOptions } from '../common/initialize';
import type { CommonKeys, Count } from '../common/keys';
import {
  checkGroups,
  checkShapeOf,
  finite,
  flag,
  notNegative,
  orNull,
  positive,
  type ShapeChecks,
  size,
} from '../common/shapeChecks';
import { GATED_DELTA_KEYS, type GatedDeltaKeys, type GatedDeltaSizes, type NegativeEigenvalueKeys } from './gatedDelta';

/** Keys of both families; T is their `model_type`. */
export interface PreconditionedKeys<T extends string = string> extends GatedDeltaKeys<T>, NegativeEigenvalueKeys {
  /** How far a channel of a key is rescaled: by 1 / squashX to squashX. 1.5 by default. */
  squashX?: Count;
  /** Added to the curvature in its logarithm, 1e-6 by default. */
  squashEps?: Count;
  /** Of new weights, the logarithm of the curvature that does not rescale, -0.2 by default. */
  logAtkScaleInit?: Count;
  /** Of new weights, the least rate of decay, up to 16; 0.001 at least. */
  aLogInitLower?: Count;
}

export const PRECONDITIONED_KEYS: OptionNames<Omit<PreconditionedKeys, keyof CommonKeys>> = {
  ...GATED_DELTA_KEYS,
  allowNegEigval: 'flag',
  squashX: true,
  squashEps: true,
  logAtkScaleInit: true,
  aLogInitLower: true,
};

/** Less than this is 0 in float32, and the logarithm of no curvature infinite. */
const LEAST_SQUASH_EPS = 2 ** -126;

/** What a layer is made of beside the sizes of its delta rule. */
export interface PreconditionerSizes {
  /** Channels of keys are rescaled by 1 / it to it (`squash_x`, 1.5 by default). */
  readonly squash: number;
  /** Added to the curvature in its logarithm (`squash_eps`, 1e-6 by default). */
  readonly squashEps: number;
  /** What new `log_atk_scale` are (`log_atk_scale_init`, -0.2 by default). */
  readonly newCenter: number;
  /** Of new rates of decay, of the state and of the curvature (`a_log_init_lower`). */
  readonly leastRate: number;
}

const SHAPE: ShapeChecks<GatedDeltaSizes & PreconditionerSizes> = {
  hiddenSize: size,
  numHeads: size,
  numValueHeads: size,
  keyDim: size,
  valueDim: size,
  allowNegEigval: flag,
  convSize: orNull(size),
  normEps: notNegative,
  squash: positive,
  squashEps: (where, name, value) => checkNumber(where, name, value, LEAST_SQUASH_EPS),
  newCenter: finite,
  leastRate: (where, name, value) => checkNumber(where, name, value, 0, 16),
};

/** Requires what either layer is made of; `more` checks what it has for itself. */
export function checkPreconditioned<S extends GatedDeltaSizes & PreconditionerSizes>(
  where: string,
  config: S,
  more: ShapeChecks<Omit<S, keyof (GatedDeltaSizes & PreconditionerSizes)>>,
): void {
  checkShapeOf<object>(where, 'config', config, { ...SHAPE, ...more });
  checkGroups(where, 'numValueHeads', config.numValueHeads, 'numHeads', config.numHeads);
}

export function readPreconditioner(reader: ConfigurationReader, leastRate: number): PreconditionerSizes {
  return {
    squash: reader.positive('squash_x', 1.5),
    squashEps: reader.number('squash_eps', 1e-6, LEAST_SQUASH_EPS),
    newCenter: reader.number('log_atk_scale_init', -0.2, -Infinity),
    leastRate: reader.number('a_log_init_lower', leastRate, 0, 16),
  };
}

/** Operands of the rule. */
export type PreconditionedInputs = RuleInputs & {
  preconditionerGate: Tensor;
  preconditionerBeta: Tensor;
  preconditionerCenter: Tensor;
  base: number;
  eps: number;
};

/** `preconditionedDeltaRule` as delta layers call their rules: a step takes its states side by side. */
export const preconditionedRule = Object.assign(
  (...call: Parameters<MixerRule<PreconditionedInputs>>) => {
    const [q, k, v, { gate, ...options }] = call;
    return preconditionedDeltaRule(q, k, v, { gate: gate!, ...options });
  },
  {
    step(...[q, k, v, given]: Parameters<MixerRule<PreconditionedInputs>['step']>) {
      const { gate, state, preconditioner, ...options } = given;
      const states = { state, preconditioner: preconditioner! };
      return preconditionedDeltaRule.step(q, k, v, { gate: gate!, ...options, state: states });
    },
  },
);

/** The weights of a layer from which the curvature comes, under the names that both layers have. */
export interface CurvatureWeights {
  readonly config: PreconditionerSizes;
  readonly b_atk_proj: Linear;
  readonly A_log_atk: Tensor;
  readonly dt_bias_atk: Tensor;
  readonly log_atk_scale: Tensor;
}

/** The operands of a delta rule with those of the curvature; `decay` is the projection to its decays. */
export function preconditionedInputs(
  inputs: RuleInputs,
  x: Tensor,
  decay: Linear,
  { config, b_atk_proj, A_log_atk, dt_bias_atk, log_atk_scale }: CurvatureWeights,
): PreconditionedInputs {
  return {
    ...inputs,
    preconditionerGate: gatedDeltaNetGate(decay.forward(x), A_log_atk, dt_bias_atk),
    preconditionerBeta: toFloat32(b_atk_proj.forward(x)).sigmoid(),
    preconditionerCenter: log_atk_scale,
    base: config.squash,
    eps: config.squashEps,
  };
}

/** New `log_atk_scale` [heads]. */
export function newCenters(heads: number, center: number, options: TensorOptions): Tensor {
  return parameter(noGrad(() => full([heads], center, decayOptions(options))));
}
