// Gated retention: the layer of YOCO's lower half, linear attention with a learned decay per head and rotary positions, with the
// weight names of flash-linear-attention (Sun et al. 2024).
import { argumentError, describe, type Tensor } from '../../core';
import { Linear } from '../../nn';
import { rmsNorm, type TensorOptions, toFloat32 } from '../../ops';
import { gatedLinearAttention } from '../../rules';
import { FastWeightMixer, type Past, type RuleInputs } from '../common/fastWeightMixer';
import { checkHeads, mergeHeads, type Placed, splitHeads } from '../common/mixer';
import { checkShapeOf, notNegative, numbers, positive, type ShapeChecks, size } from '../common/shapeChecks';

/** What a layer is made of. */
export interface GatedRetentionShape {
  /** Width of x. */
  readonly hiddenSize: number;
  /** A divisor of hiddenSize. */
  readonly numHeads: number;
  /** Angle per position of each pair of neighbouring coordinates of q and k. */
  readonly frequencies: readonly number[];
  /** What the logarithm of each decay is divided by. */
  readonly gateNormalizer: number;
  /** Added to the mean square in the norm of the output, which has no weight. */
  readonly normEps: number;
}

const SHAPE: ShapeChecks<GatedRetentionShape> = {
  hiddenSize: size,
  numHeads: size,
  frequencies: numbers,
  gateNormalizer: positive,
  normEps: notNegative,
};

/**
 * Additive fast weights with the log decay logsigmoid(gk_proj x) / `gateNormalizer` of each head, q and k turned by their
 * positions, norm(o) * silu(g_proj x) (Sun et al. 2024, "You Only Cache Once"). No projection has a bias.
 */
export class GatedRetention extends FastWeightMixer {
  /** Queries, weight [hiddenSize, hiddenSize]. */
  q_proj: Linear;
  /** Keys, weight [hiddenSize, hiddenSize]. */
  k_proj: Linear;
  /** Values, weight [hiddenSize, hiddenSize]. */
  v_proj: Linear;
  /** To the gate of the output before its silu, weight [hiddenSize, hiddenSize]. */
  g_proj: Linear;
  /** To the decays, weight [numHeads, hiddenSize]. */
  gk_proj: Linear;
  /** To the output, weight [hiddenSize, hiddenSize]. */
  o_proj: Linear;
  protected readonly rule = gatedLinearAttention;

  constructor(
    /** What the layer was made with. */
    readonly shape: GatedRetentionShape,
    options: TensorOptions = {},
  ) {
    checkShapeOf(new.target.name, 'shape', shape, SHAPE);
    const { hiddenSize, numHeads, frequencies } = shape;
    checkHeads(new.target.name, 'numHeads', numHeads, hiddenSize);
    const pairs = Math.floor(hiddenSize / numHeads / 2);
    if (frequencies.length > pairs) {
      const expected = `at most ${pairs} numbers, one for each pair of a head's coordinates`;
      throw argumentError('INVALID_ARGUMENT', new.target.name, 'frequencies', expected, describe(frequencies));
    }
    super({ heads: numHeads, keyDim: hiddenSize / numHeads, valueDim: hiddenSize / numHeads });
    const linear = (to: number): Linear => new Linear(hiddenSize, to, { bias: false, ...options });
    this.q_proj = linear(hiddenSize);
    this.k_proj = linear(hiddenSize);
    this.v_proj = linear(hiddenSize);
    this.g_proj = linear(hiddenSize);
    this.gk_proj = linear(numHeads);
    this.o_proj = linear(hiddenSize);
  }

  protected get reference(): Placed {
    return this.o_proj;
  }

  protected inputs(x: Tensor, past: Past): RuleInputs {
    const { numHeads, frequencies, gateNormalizer } = this.shape;
    const heads = (proj: Linear): Tensor => splitHeads(proj.forward(x), numHeads);
    const turned = (proj: Linear): Tensor => past.rotate(heads(proj), { frequencies, interleaved: true });
    return {
      q: turned(this.q_proj),
      k: turned(this.k_proj),
      v: heads(this.v_proj),
      gate: toFloat32(this.gk_proj.forward(x)).logSigmoid().div(gateNormalizer),
    };
  }

  protected readout(output: Tensor, x: Tensor): Tensor {
    const { numHeads, normEps } = this.shape;
    const gate = splitHeads(this.g_proj.forward(x), numHeads).silu();
    return this.o_proj.forward(mergeHeads(rmsNorm(output, null, { eps: normEps }).mul(gate)));
  }
}
