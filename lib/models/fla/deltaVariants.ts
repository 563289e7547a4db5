// The layer of Gated DeltaNet around newer delta rules: EFLA, Kaczmarz linear attention, Q-Delta.
import { checkChoice, checkInteger, checkOptions, type OptionNames, type Tensor } from '../../core';
import { Linear } from '../../nn';
import { TENSOR_OPTIONS, type TensorOptions, toFloat32 } from '../../ops';
import { efla, kaczmarzAttention, qDeltaRule } from '../../rules';
import type { MixerRule, Past, RuleInputs } from '../common/fastWeightMixer';
import { checkHeads } from '../common/mixer';
import { HeadDecayMixer, type HeadDecaySizes } from './headDecay';

const RULES = { efla, kaczmarzAttention, qDeltaRule };

/** Options of `DeltaVariant`, those that a tensor is made with among them. */
export interface DeltaVariantOptions extends TensorOptions {
  /** K, width of a head's keys: hiddenSize / numHeads by default. */
  keyDim?: number;
  /** V, width of a head's values: as many by default. */
  valueDim?: number;
  /** Tokens that the convolutions of q, k and v see, 4 by default; null for none. */
  convSize?: number | null;
  /** Whether the norm of the output is gated, true by default. */
  useGate?: boolean;
  /** In that norm, 1e-5 by default. */
  normEps?: number;
}

const OPTIONS: OptionNames<DeltaVariantOptions> = {
  ...TENSOR_OPTIONS,
  keyDim: true,
  valueDim: true,
  convSize: true,
  useGate: 'flag',
  normEps: true,
};

type Inputs = RuleInputs & { eta?: Tensor; queryShare?: Tensor };

/** The authors' start of l_proj x before its sigmoid: the query takes next to no part. */
const QUERY_BIAS = -0.9;

/**
 * `GatedDeltaNet` with another rule, from s = sigmoid(b_proj x) and the same log decay:
 *   'efla': beta = s, keys as the convolution leaves them, no decay (arXiv 2512.12602),
 *   'kaczmarzAttention': eta = s, keys as they are (arXiv 2605.08587),
 *   'qDeltaRule': beta = s, keys of unit length, queryShare = sigmoid(l_proj x - 0.9) (arXiv 2606.08804).
 * The papers' equations of the rules; projections, convolutions and the norm are those of Gated DeltaNet in all of them.
 */
export class DeltaVariant extends HeadDecayMixer<HeadDecaySizes, Inputs> {
  /** To the share of the query in what is erased, weight [numHeads, hidden], no bias; null but for 'qDeltaRule'. */
  l_proj: Linear | null;
  protected readonly rule: MixerRule<Inputs>;

  constructor(
    hiddenSize: number,
    /** A divisor of hiddenSize. */
    numHeads: number,
    /** Which rule writes. */
    readonly variant: keyof typeof RULES,
    options: DeltaVariantOptions = {},
  ) {
    const where = 'DeltaVariant';
    checkOptions(where, options, OPTIONS);
    checkInteger(where, 'hiddenSize', hiddenSize, 1);
    checkHeads(where, 'numHeads', numHeads, hiddenSize);
    checkChoice(where, 'variant', variant, Object.keys(RULES) as (keyof typeof RULES)[]);
    const {
      keyDim = hiddenSize / numHeads,
      valueDim = keyDim,
      convSize = 4,
      useGate = true,
      normEps = 1e-5,
      ...on
    } = options;
    const sizes = { hiddenSize, numHeads, numValueHeads: numHeads, keyDim, valueDim, convSize, useGate, normEps };
    super({ ...sizes, allowNegEigval: false }, on, { decays: variant !== 'efla' });
    this.rule = RULES[variant] as unknown as MixerRule<Inputs>;
    this.l_proj = variant === 'qDeltaRule' ? new Linear(hiddenSize, numHeads, { bias: false, ...on }) : null;
  }

  protected inputs(x: Tensor, past: Past): Inputs {
    const { beta, gate, qkL2Norm, ...operands } = this.deltaInputs(x, past);
    if (this.variant === 'efla') return { ...operands, beta };
    if (!this.l_proj) return { ...operands, eta: beta!, gate };
    const queryShare = toFloat32(this.l_proj.forward(x)).add(QUERY_BIAS).sigmoid();
    return { ...operands, beta, gate, qkL2Norm, queryShare };
  }
}
