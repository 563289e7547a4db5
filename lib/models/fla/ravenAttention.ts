// The layer of Raven: gated slot attention whose tokens reach only the slots that a router chooses, with the weight names of
// flash-linear-attention (2026).
import { checkInteger, type Tensor } from '../../core';
import { GatedRMSNorm, GELU, Linear, RMSNorm, Sequential } from '../../nn';
import {
  gatedDeltaNetGate,
  gather,
  rand,
  scatterAdd,
  type TensorOptions,
  toFloat32,
  topk,
  zeros,
  zerosBeside,
} from '../../ops';
import { gsa } from '../../rules';
import { decayOptions, logUniform, timeStepBias } from '../common/initialize';
import { MemoriesMixer, type QkvInputs } from '../common/memoriesMixer';
import { checkHeads, type Placed, mergeHeads, splitHeads } from '../common/mixer';
import type { Past } from '../common/ruleMixer';
import {
  checkPairs,
  checkShapeOf,
  flag,
  notNegative,
  oneOf,
  orNull,
  positive,
  type ShapeChecks,
  size,
} from '../common/shapeChecks';
import { type FeatureMap, makeFeatureMap, POINTWISE_MAPS } from './featureMaps';
import type { HeadSizes } from './skeleton';

/** What a layer is made of. */
export interface RavenShape extends HeadSizes {
  /** Width of x. */
  readonly hiddenSize: number;
  /** Added to the mean square in every norm. */
  readonly normEps: number;
  /** Slots of each head of keys and values (`num_slots`, 64 by default; a head's key width where it is null). */
  readonly numSlots: number;
  /** Slots that a token reaches (`topk`, 32 by default). */
  readonly perToken: number;
  /** Of q and k in front of their norms (`feature_map`, 'swish' by default); 't2r' has a weight for all heads. */
  readonly featureMap: 'swish' | 'relu' | 't2r';
  /** Gates the output (`use_output_gate`, false by default). */
  readonly outputGate: boolean;
  /** Whether each slot has a decay of its own ('GLA') or each head one ('Mamba2', the default), by `decay_type`. */
  readonly slotDecays: boolean;
  /** What the logarithm of a slot's own decay is divided by (`gate_logit_normalizer`, 8 by default). */
  readonly gateNormalizer: number;
  /** Whether a number of each slot is added where slots are chosen, and only there (`bias_rmm`, false by default). */
  readonly correctionBias: boolean;
  /** Whether the router chooses by chance in training (`add_gumbel_noise`, true by default). */
  readonly noise: boolean;
  /** What makes a score of a logit (`router_score`, 'sigmoid' by default); those of a token's slots are divided by their sum. */
  readonly scores: 'sigmoid' | 'softmax';
  /** Whether the router has a hidden layer (`router_type` 'mlp'; 'lin' by default). */
  readonly deepRouter: boolean;
  /** Base of the rotary frequencies of q and k (`rope_theta`, 10000 by default); null without `use_rope`, as by default. */
  readonly rotary: number | null;
}

const SHAPE: ShapeChecks<RavenShape> = {
  hiddenSize: size,
  numHeads: size,
  numKvHeads: size,
  keyDim: size,
  valueDim: size,
  normEps: notNegative,
  numSlots: size,
  perToken: size,
  featureMap: oneOf('swish', 'relu', 't2r'),
  outputGate: flag,
  slotDecays: flag,
  gateNormalizer: positive,
  correctionBias: flag,
  noise: flag,
  scores: oneOf('sigmoid', 'softmax'),
  deepRouter: flag,
  rotary: orNull(positive),
};

/** Keeps a sum of scores that all vanish from dividing by 0, as the published program does. */
const SUM_EPS = 1e-9;

/** Keys [B, numKvHeads, keyDim, numSlots] and values [B, numKvHeads, numSlots, valueDim] of the slots. */
type Slots = { keyState: Tensor; valueState: Tensor };
type SlotInputs = QkvInputs & { slots: Tensor; gate: Tensor; scale: number };

/**
 * `gsa` over slots that a router chooses for each token: the log decay f of a slot, of Mamba-2's form or logsigmoid(f_proj x) /
 * `gateNormalizer`, counts times its score, 0 for slots that are not among the token's, and it is written with 1 - decay. q and k
 * through the feature map and a norm of each head, v through silu, the output through silu and a norm. Nothing is divided by the
 * root of the width.
 */
export class RavenAttention extends MemoriesMixer<SlotInputs, Slots> {
  /** To the queries, weight [numHeads * keyDim, hiddenSize], no bias. */
  q_proj: Linear;
  /** To the keys, weight [numKvHeads * keyDim, hiddenSize], no bias. */
  k_proj: Linear;
  /** To the values, weight [numKvHeads * valueDim, hiddenSize], no bias. */
  v_proj: Linear;
  /** To the decays of heads, weight [numKvHeads, hiddenSize], no bias; null with `slotDecays`, as the next two. */
  a_proj: Linear | null;
  /** Log of each head's rate of decay [numKvHeads]; float32 also in a bfloat16 model. New rates are uniform in (0.001, 16). */
  A_log: Tensor | null;
  /**
   * Added to `a_proj` x in front of the softplus [numKvHeads]; float32 also in a bfloat16 model. New time steps softplus(dt_bias)
   * are log-uniform in (0.001, 0.1).
   */
  dt_bias: Tensor | null;
  /** To the decays of slots, weight [numKvHeads * numSlots, hiddenSize], no bias; null without `slotDecays`. */
  f_proj: Linear | null;
  /** Added to scores where slots are chosen [numKvHeads, numSlots], float32, zeros at first; null without `correctionBias`. */
  r_bias: Tensor | null;
  /** To the scores of slots, numKvHeads * numSlots, no bias; 'mlp' has a layer of hiddenSize with bias and exact gelu in front. */
  r_proj: Linear | Sequential;
  /** Of q and k, 't2r' with a weight [keyDim, keyDim]; null where it has none. */
  feature_map: FeatureMap | null;
  /** Of each head's queries, weight [keyDim]. */
  q_norm: RMSNorm;
  /** Of each head's keys, weight [keyDim]. */
  k_norm: RMSNorm;
  /** To the gate of the output before its silu, weight [numHeads * valueDim, hiddenSize], no bias; null without `outputGate`. */
  o_gate_proj: Linear | null;
  /** Of each head's output, times the gate, weight [valueDim]; null without `outputGate`. */
  o_norm: GatedRMSNorm | null;
  /** Of all heads' outputs together, weight [numHeads * valueDim]; null with `outputGate`. */
  g_norm: RMSNorm | null;
  /** From the heads to the output, weight [hiddenSize, numHeads * valueDim], no bias. */
  o_proj: Linear;
  protected readonly rule = gsa;
  protected readonly shapes: { keyState: readonly number[]; valueState: readonly number[] };

  constructor(
    /** What the layer was made with. */
    readonly config: RavenShape,
    options: TensorOptions = {},
  ) {
    super();
    const where = new.target.name;
    checkShapeOf(where, 'config', config, SHAPE);
    const { hiddenSize, numHeads, numKvHeads, keyDim, valueDim, numSlots, normEps, slotDecays, outputGate } = config;
    checkHeads(where, 'numKvHeads', numKvHeads, numHeads);
    checkInteger(where, 'perToken', config.perToken, 1, numSlots);
    if (config.rotary !== null) checkPairs(where, 'keyDim', keyDim);
    const linear = (dim: number): Linear => new Linear(hiddenSize, dim, { bias: false, ...options });
    const norm = (dim: number): RMSNorm => new RMSNorm(dim, { eps: normEps, ...options });
    const values = numHeads * valueDim;
    this.shapes = { keyState: [numKvHeads, keyDim, numSlots], valueState: [numKvHeads, numSlots, valueDim] };
    this.q_proj = linear(numHeads * keyDim);
    this.k_proj = linear(numKvHeads * keyDim);
    this.v_proj = linear(numKvHeads * valueDim);
    this.a_proj = slotDecays ? null : linear(numKvHeads);
    this.A_log = slotDecays ? null : logUniform(numKvHeads, 0, 16, options);
    this.dt_bias = slotDecays ? null : timeStepBias(numKvHeads, options);
    this.f_proj = slotDecays ? linear(numKvHeads * numSlots) : null;
    const bias = config.correctionBias ? zeros([numKvHeads, numSlots], decayOptions(options)) : null;
    this.r_bias = this.registerBuffer('r_bias', bias);
    const scores = linear(numKvHeads * numSlots).keepWhole();
    this.r_proj = config.deepRouter
      ? new Sequential(new Linear(hiddenSize, hiddenSize, options).keepWhole(), new GELU(), scores)
      : scores;
    this.feature_map = config.featureMap === 't2r' ? makeFeatureMap('t2r', keyDim, options) : null;
    this.q_norm = norm(keyDim);
    this.k_norm = norm(keyDim);
    this.o_gate_proj = outputGate ? linear(values) : null;
    this.o_norm = outputGate ? new GatedRMSNorm(valueDim, { eps: normEps, ...options }) : null;
    this.g_norm = outputGate ? null : norm(values);
    this.o_proj = new Linear(values, hiddenSize, { bias: false, ...options });
  }

  protected override get keptInFloat32(): readonly string[] {
    return ['A_log', 'dt_bias', 'r_bias'];
  }

  protected get reference(): Placed {
    return this.o_proj;
  }

  /** Log decays of heads [..., numKvHeads, 1] or of slots [..., numKvHeads, numSlots]. */
  private decays(x: Tensor): Tensor {
    const { a_proj, f_proj, config } = this;
    if (a_proj) return gatedDeltaNetGate(a_proj.forward(x), this.A_log!, this.dt_bias!).unsqueeze(-1);
    const gate = toFloat32(f_proj!.forward(x)).logSigmoid().div(config.gateNormalizer);
    return splitHeads(gate, config.numKvHeads);
  }

  /** How much each slot is a token's [..., numKvHeads, numSlots]: 0 for all but `perToken` of them. */
  private routes(x: Tensor): Tensor {
    const { numKvHeads, perToken, noise, scores: kind } = this.config;
    const clean = splitHeads(toFloat32(this.r_proj.forward(x)), numKvHeads);
    const logits = noise && this.training ? clean.sub(exponential(clean).log()) : clean;
    const scores = kind === 'sigmoid' ? logits.sigmoid() : logits.softmax(-1);
    const slots = topk(this.r_bias ? scores.detach().add(this.r_bias) : scores.detach(), perToken).indices;
    const chosen = gather(scores, -1, slots);
    const weights = kind === 'sigmoid' ? chosen.div(chosen.sum(-1, true).add(SUM_EPS)) : chosen;
    return scatterAdd(zerosBeside(scores, scores.shape), -1, slots, weights);
  }

  protected inputs(x: Tensor, past: Past): SlotInputs {
    const { numHeads, numKvHeads, featureMap, rotary } = this.config;
    const { feature_map } = this;
    const phi = (t: Tensor): Tensor =>
      feature_map ? feature_map.forward(t) : POINTWISE_MAPS[featureMap as 'swish' | 'relu'](t);
    const part = (proj: Linear, norm: RMSNorm, heads: number): Tensor => {
      const normed = norm.forward(phi(splitHeads(proj.forward(x), heads)));
      return rotary === null ? normed : past.rotate(normed, { base: rotary });
    };
    const gate = this.decays(x).mul(this.routes(x));
    return {
      q: part(this.q_proj, this.q_norm, numHeads),
      k: part(this.k_proj, this.k_norm, numKvHeads),
      v: splitHeads(this.v_proj.forward(x).silu(), numKvHeads),
      slots: gate.expm1().neg(),
      gate,
      scale: 1,
    };
  }

  protected readout(output: Tensor, x: Tensor): Tensor {
    const { o_gate_proj, o_norm, g_norm } = this;
    const heads = output.silu();
    const normed = g_norm
      ? g_norm.forward(mergeHeads(heads))
      : mergeHeads(o_norm!.forward(heads, splitHeads(o_gate_proj!.forward(x), this.config.numHeads)));
    return this.o_proj.forward(normed);
  }
}

/** Numbers as large as x that are exponentially distributed, above 0. */
function exponential(x: Tensor): Tensor {
  const { device, dtype } = x;
  return rand(x.shape, { device, dtype: dtype as 'float32', low: 2 ** -24, high: 1 })
    .log()
    .neg()
    .clamp(2 ** -25);
}
