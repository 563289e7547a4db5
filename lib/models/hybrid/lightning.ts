// The lightning attention of MiniMax-Text-01 (Qin et al. 2024; MiniMax 2025; spec 2.13.2).
import type { Tensor } from '../../core';
import { Linear, RMSNorm } from '../../nn';
import { split, statisticsDtype, tensor, type TensorOptions } from '../../ops';
import { gatedLinearAttention } from '../../rules';
import { FastWeightMixer, type RuleInputs } from '../common/fastWeightMixer';
import { type Placed, mergeHeads, splitHeads } from '../common/mixer';

/** What a layer is made of. */
export interface LightningShape {
  readonly hiddenSize: number;
  readonly numHeads: number;
  readonly headDim: number;
  /** Counted from 0: decays are slower in deeper layers. */
  readonly layer: number;
  readonly numLayers: number;
}

/** Log of the decay of each head: -2^(-8 (h + 1) / H) (1 - layer / (L - 1)), where both are kept off 0. */
function lightningDecay(heads: number, layer: number, layers: number): Float64Array {
  const share = 1 - layer / (layers - 1 + 1e-5) + 1e-5;
  return Float64Array.from({ length: heads }, (_, h) => -(2 ** ((-8 * (h + 1)) / heads)) * share);
}

/**
 * A sum of outer products with a fixed decay per head (Qin et al. 2024), silu in front of q, k and v, no scale; the output is
 * normed over all heads and multiplied by a sigmoid.
 */
export class LightningAttention extends FastWeightMixer {
  qkv_proj: Linear;
  out_proj: Linear;
  output_gate: Linear;
  norm: RMSNorm;
  protected readonly rule = gatedLinearAttention;
  private readonly decay: Float64Array;

  constructor({ hiddenSize, numHeads, headDim, layer, numLayers }: LightningShape, options: TensorOptions = {}) {
    super({ heads: numHeads, keyDim: headDim, valueDim: headDim });
    const width = numHeads * headDim;
    const bare = { bias: false, ...options };
    this.qkv_proj = new Linear(hiddenSize, 3 * width, bare);
    this.out_proj = new Linear(width, hiddenSize, bare);
    this.output_gate = new Linear(hiddenSize, width, bare);
    this.norm = new RMSNorm(width, options);
    this.decay = lightningDecay(numHeads, layer, numLayers);
  }

  protected get reference(): Placed {
    return this.out_proj;
  }

  protected inputs(x: Tensor): RuleInputs {
    const { heads, keyDim } = this.sizes;
    const projected = splitHeads(this.qkv_proj.forward(x).silu(), heads);
    const [q, k, v] = split(projected, [keyDim, keyDim, keyDim], -1);
    const gate = tensor(this.decay, { dtype: statisticsDtype(x), device: x.device });
    return { q, k, v, gate: gate.expand([...x.shape.slice(0, -1), heads]), scale: 1 };
  }

  protected readout(output: Tensor, x: Tensor): Tensor {
    const normed = this.norm.forward(mergeHeads(output));
    return this.out_proj.forward(normed.mul(this.output_gate.forward(x).sigmoid()));
  }
}
