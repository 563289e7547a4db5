// Layers of linear attention whose scores are polynomials: Based and ReBased, with the weight names of flash-linear-attention.
import { checkInteger, checkOptions, type OptionNames, type Tensor } from '../../core';
import { Linear, Module, parameter } from '../../nn';
import { layerNorm, ones, TENSOR_OPTIONS, type TensorOptions, zeros } from '../../ops';
import { based, rebased } from '../../rules';
import { FastWeightMixer, type MixerRule, type RuleInputs } from '../common/fastWeightMixer';
import { type Placed, checkHeads, mergeHeads, splitHeads } from '../common/mixer';

/** Options of `BasedLinearAttention` and `ReBasedLinearAttention`, those that a tensor is made with among them. */
export interface PolynomialAttentionOptions extends TensorOptions {
  /** K, width of a head's queries and keys; 16 by default. */
  featureDim?: number;
}

const OPTIONS: OptionNames<PolynomialAttentionOptions> = { ...TENSOR_OPTIONS, featureDim: true };

/** Projections to q, k, v, and of the output; no biases. */
abstract class PolynomialAttention extends FastWeightMixer {
  /** Queries, weight [numHeads * featureDim, hidden]. */
  q_proj: Linear;
  /** Keys, of the same shape. */
  k_proj: Linear;
  /** Values, weight [hidden, hidden]. */
  v_proj: Linear;
  /** To the output, weight [hidden, hidden]. */
  o_proj: Linear;
  /** K */
  readonly featureDim: number;
  protected abstract override readonly rule: MixerRule;
  protected override readonly normalizes = true;

  protected constructor(
    hiddenSize: number,
    /** A divisor of hiddenSize. */
    readonly numHeads: number,
    options: PolynomialAttentionOptions,
    /** How many monomials there are of K variables. */
    monomials: (K: number) => number,
  ) {
    const where = new.target.name;
    checkOptions(where, options, OPTIONS);
    const { featureDim = 16, ...on } = options;
    checkInteger(where, 'hiddenSize', hiddenSize, 1);
    checkHeads(where, 'numHeads', numHeads, hiddenSize);
    checkInteger(where, 'featureDim', featureDim, 1);
    super({ heads: numHeads, keyDim: monomials(featureDim), valueDim: hiddenSize / numHeads });
    const linear = (from: number, to: number): Linear => new Linear(from, to, { bias: false, ...on });
    this.featureDim = featureDim;
    this.q_proj = linear(hiddenSize, numHeads * featureDim);
    this.k_proj = linear(hiddenSize, numHeads * featureDim);
    this.v_proj = linear(hiddenSize, hiddenSize);
    this.o_proj = linear(hiddenSize, hiddenSize);
  }

  protected get reference(): Placed {
    return this.o_proj;
  }

  protected inputs(x: Tensor): RuleInputs {
    const part = (proj: Linear): Tensor => splitHeads(proj.forward(x), this.numHeads);
    return { q: part(this.q_proj), k: part(this.k_proj), v: part(this.v_proj) };
  }

  protected readout(output: Tensor): Tensor {
    return this.o_proj.forward(mergeHeads(output));
  }
}

/** `based` of linear projections (Arora et al. 2024); the paper puts layers of attention to a window between these. */
export class BasedLinearAttention extends PolynomialAttention {
  protected override readonly rule = based as unknown as MixerRule;

  constructor(hiddenSize: number, numHeads: number, options: PolynomialAttentionOptions = {}) {
    super(hiddenSize, numHeads, options, (K) => 1 + K + (K * (K + 1)) / 2);
  }
}

/** LayerNorm whose weight and bias have the published names. */
class AffineNorm extends Module {
  /** [K], ones at first. */
  gamma: Tensor;
  /** [K], zeros at first. */
  beta: Tensor;

  constructor(width: number, options: TensorOptions) {
    super();
    this.gamma = parameter(ones([width], options));
    this.beta = parameter(zeros([width], options));
  }

  forward(x: Tensor): Tensor {
    return layerNorm(x, this.gamma, this.beta, 1e-5);
  }
}

/** `rebased` behind an affine norm of queries and keys, which they share (Aksenov et al. 2024). */
export class ReBasedLinearAttention extends PolynomialAttention {
  /** Of each head's queries and keys, gamma and beta [featureDim]. */
  feature_map: AffineNorm;
  protected override readonly rule = rebased as unknown as MixerRule;

  constructor(hiddenSize: number, numHeads: number, options: PolynomialAttentionOptions = {}) {
    super(hiddenSize, numHeads, options, (K) => (K * (K + 1)) / 2);
    const { featureDim: _, ...on } = options;
    this.feature_map = new AffineNorm(this.featureDim, on);
  }

  protected override inputs(x: Tensor): RuleInputs {
    const { q, k, v } = super.inputs(x);
    return { q: this.feature_map.forward(q), k: this.feature_map.forward(k), v, normalizeEps: 1e-5 };
  }
}
