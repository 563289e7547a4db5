// The layer of RWKV-7: a diagonal plus low-rank memory, token shift, values that see those of the first layer (Peng et al. 2025;
// spec 2.13.8).
import { checkObject, argumentError, type Tensor } from '../../core';
import { Linear, parameter } from '../../nn';
import {
  l2Norm,
  normalize,
  rwkv7KeyUpdate,
  rwkv7OutputCorrection,
  type TensorOptions,
  toFloat32,
  zeros,
} from '../../ops';
import { generalizedDeltaRule } from '../../rules';
import { computable, FastWeightMixer, type Past, type RuleInputs } from '../common/fastWeightMixer';
import { type Placed, mergeHeads, splitHeads } from '../common/mixer';
import { along, assign, HeadNorm, likeOrthogonal, LowRank, uniform } from './parts';
import type { Rwkv7Configuration } from './rwkv7Configuration';

interface Rwkv7Inputs extends RuleInputs {
  a: Tensor;
  b: Tensor;
  carry: Tensor;
}

/** How much of the token before goes into r, decay, k, v, rate and gate. */
export const MIXES = ['x_r', 'x_w', 'x_k', 'x_v', 'x_a', 'x_g'] as const;

/** -exp(-1/2): the least log decay. */
const LEAST_DECAY = -0.6065306597126334;

/**
 * S_t = diag(w_t) S_{t-1} - kappa_t (a_t kappa_t)^T S_{t-1} + k_t v_t^T with decays w, rates a and keys that each mix the token
 * with the one before it (Peng et al. 2025, "RWKV-7 Goose"). Layers behind the first mix their values with those of the first.
 */
export class RWKV7Attention extends FastWeightMixer<Rwkv7Inputs> {
  /** How much of the token before goes into r [1, 1, hiddenSize]. */
  x_r: Tensor;
  /** The same of the decay. */
  x_w: Tensor;
  /** The same of k. */
  x_k: Tensor;
  /** The same of v. */
  x_v: Tensor;
  /** The same of the rate. */
  x_a: Tensor;
  /** The same of the gate. */
  x_g: Tensor;
  /** What keys are multiplied by before they erase [hiddenSize]. */
  k_k: Tensor;
  /** How much the rate says of the written key [hiddenSize]. */
  k_a: Tensor;
  /** Weight of the present token in the output [numHeads, headDim]. */
  r_k: Tensor;
  /** [hiddenSize, hiddenSize] */
  r_proj: Linear;
  /** [hiddenSize, hiddenSize] */
  k_proj: Linear;
  /** [numHeads * headValueDim, hiddenSize] */
  v_proj: Linear;
  /** [hiddenSize, numHeads * headValueDim] */
  o_proj: Linear;
  /** To the decay. */
  w_lora: LowRank;
  /** To the share of the first layer's values; null in the first layer. */
  v_lora: LowRank | null;
  /** To the rate. */
  a_lora: LowRank;
  /** To the gate of the output. */
  g_lora: LowRank;
  /** Of each head's output; weight and bias [numHeads * headValueDim], eps headDim * normEps. */
  g_norm: HeadNorm;
  protected readonly rule = generalizedDeltaRule;

  constructor(
    /** Of the model. */
    readonly config: Rwkv7Configuration,
    /** From 0. */
    readonly layer: number,
    options: TensorOptions = {},
  ) {
    checkObject(new.target.name, 'config', config);
    const { hiddenSize, numHeads, headDim, headValueDim, normEps, ranks } = config;
    super({ heads: numHeads, keyDim: headDim, valueDim: headValueDim });
    const values = numHeads * headValueDim;
    const vector = (shape: number[]): Tensor => parameter(zeros(shape, options));
    const linear = (from: number, to: number): Linear => new Linear(from, to, { bias: false, ...options });
    const mix = (): Tensor => vector([1, 1, hiddenSize]);
    [this.x_r, this.x_w, this.x_k, this.x_v, this.x_a, this.x_g] = MIXES.map(mix);
    this.k_k = vector([hiddenSize]);
    this.k_a = vector([hiddenSize]);
    this.r_k = vector([numHeads, headDim]);
    this.r_proj = linear(hiddenSize, hiddenSize);
    this.k_proj = linear(hiddenSize, hiddenSize);
    this.v_proj = linear(hiddenSize, values);
    this.o_proj = linear(values, hiddenSize);
    this.w_lora = new LowRank(hiddenSize, hiddenSize, ranks.decay, 'tanh', options);
    this.v_lora = layer === 0 ? null : new LowRank(hiddenSize, values, ranks.value, null, options);
    this.a_lora = new LowRank(hiddenSize, hiddenSize, ranks.rate, null, options);
    this.g_lora = new LowRank(hiddenSize, values, ranks.gate, 'sigmoid', { bias: false, ...options });
    this.g_norm = new HeadNorm(numHeads, values, { eps: headDim * normEps, ...options });
  }

  protected get reference(): Placed {
    return this.o_proj;
  }

  protected override get shifts(): Record<string, number> {
    return { x: this.config.hiddenSize };
  }

  protected inputs(x: Tensor, past: Past): Rwkv7Inputs {
    const { numHeads, fuseNorm } = this.config;
    const delta = past.shift('x', x);
    const mixed = (mu: Tensor): Tensor => x.add(delta.mul(mu.reshape(-1)));
    const heads = (t: Tensor): Tensor => splitHeads(t, numHeads);
    const k = this.k_proj.forward(mixed(this.x_k));
    const rate = this.a_lora.forward(mixed(this.x_a)).sigmoid();
    const kappa = heads(k.mul(this.k_k));
    const unit = fuseNorm ? l2Norm(kappa) : normalize(kappa, { dim: -1 });
    return {
      q: heads(this.r_proj.forward(mixed(this.x_r))),
      k: heads(rwkv7KeyUpdate(k, rate, this.k_a)),
      v: heads(this.values(mixed(this.x_v), past)),
      a: computable(unit.neg()),
      b: computable(unit.mul(heads(rate))),
      gate: heads(
        toFloat32(this.w_lora.forward(mixed(this.x_w)))
          .sigmoid()
          .mul(LEAST_DECAY),
      ),
      scale: 1,
      carry: this.g_lora.forward(mixed(this.x_g)),
    };
  }

  /** The first layer hands its values on to all others. */
  private values(x: Tensor, { beside }: Past): Tensor {
    const v = this.v_proj.forward(x);
    if (!this.v_lora) {
      beside.value = v;
      return v;
    }
    if (!('value' in beside)) {
      const expected = '{ value: the values of the first layer }';
      throw argumentError('INVALID_ARGUMENT', 'RWKV7Attention', 'beside', expected, 'nothing of that name');
    }
    return v.add(this.v_lora.forward(x).sigmoid().mul(beside.value.sub(v)));
  }

  protected readout(output: Tensor, _x: Tensor, { q, k, v, carry }: Rwkv7Inputs): Tensor {
    const normed = this.g_norm.forward(mergeHeads(output));
    return this.o_proj.forward(rwkv7OutputCorrection(normed, q, k, v, this.r_k, carry));
  }

  /** As published. */
  initialize(): void {
    const { layer } = this;
    const { hiddenSize: D, headDim, numHiddenLayers: layers } = this.config;
    const depth = layer / Math.max(1, layers - 1);
    const left = 1 - layer / layers;
    const powers = [0.2, 0.9, 0.7, 0.7, 0.9, 0.2];
    MIXES.forEach((mix, i) =>
      assign(
        this[mix],
        along(D, (_, n) => 1 - (n / D) ** (powers[i] * left)),
      ),
    );
    const zigzag = (n: number): number => {
      const z = headDim === 1 ? 0 : ((n % headDim) * 2) / (headDim - 1) - 1;
      return z * Math.abs(z);
    };
    assign(
      this.k_k,
      along(D, (share) => 0.71 - 0.1 * (share - 0.5)),
    );
    assign(
      this.k_a,
      along(D, () => 1.02),
    );
    assign(
      this.r_k,
      along(D, () => -0.04),
    );
    this.w_lora.initialize(along(D, (share, n) => 6 * share ** (1 + depth ** 0.3) - 5.5 + 2.5 * zigzag(n)));
    this.a_lora.initialize(along(D, (share, n) => -0.19 + 0.3 * zigzag(n) + 0.4 * (share - 0.5)));
    this.v_lora?.initialize(along(this.v_proj.weight.shape[0], (share) => 0.73 - 0.4 * (share - 0.5)));
    this.g_lora.initialize();
    const { weight } = this.g_norm;
    assign(
      weight!,
      along(weight!.size, () => ((layer + 1) / layers) ** 0.7),
    );
    likeOrthogonal(this.r_proj.weight);
    likeOrthogonal(this.k_proj.weight, 0.1);
    likeOrthogonal(this.v_proj.weight);
    const { weight: out } = this.o_proj;
    uniform(out, (out.shape[1] * 2 * layers) ** -0.5);
  }
}
