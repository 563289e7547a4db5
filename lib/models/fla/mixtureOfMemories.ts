// The layer of a mixture of memories, with the weight names of flash-linear-attention (Du et al. 2025).
import { checkInteger, checkOptions, type OptionNames, type Tensor } from '../../core';
import { GatedRMSNorm, Linear, ModuleList } from '../../nn';
import { gatedDeltaNetGate, l2Norm, stack, TENSOR_OPTIONS, type TensorOptions, toFloat32 } from '../../ops';
import { mixtureOfMemories } from '../../rules';
import { logUniform, timeStepBias } from '../common/initialize';
import { MemoriesMixer, type MemoriesRule, type QkvInputs } from '../common/memoriesMixer';
import { type Placed, checkHeads, mergeHeads, splitHeads } from '../common/mixer';

/** Options of `MixtureOfMemories`, those that a tensor is made with among them. */
export interface MixtureOfMemoriesLayerOptions extends TensorOptions {
  /** M, 4 by default. */
  numMemories?: number;
  /** How many memories a token goes to, 2 by default. */
  topK?: number;
  /** Whether there is a memory for all tokens, too, true by default. */
  sharedMemory?: boolean;
  /** K and V, width of a head's keys and values; hiddenSize / numHeads by default. */
  headDim?: number;
  /** In the norm of the output, 1e-5 by default. */
  normEps?: number;
}

const OPTIONS: OptionNames<MixtureOfMemoriesLayerOptions> = {
  ...TENSOR_OPTIONS,
  numMemories: true,
  topK: true,
  sharedMemory: 'flag',
  headDim: true,
  normEps: true,
};

/** [B, M, H, K, V], and with a shared memory [B, H, K, V]. */
type Memories = { state: Tensor; sharedState?: Tensor };

type Inputs = QkvInputs & {
  beta: Tensor;
  gate: Tensor;
  router: Tensor;
  topK: number;
  sharedK?: Tensor;
  sharedV?: Tensor;
  sharedBeta?: Tensor;
  sharedGate?: Tensor;
};

/**
 * `mixtureOfMemories` with keys, values, strengths and decays of each memory's own projections (Du et al. 2025, "MoM"): q, k and
 * v behind silu, q and k of unit length, decays as those of Gated DeltaNet, a gated norm of each head's output. Without the short
 * convolutions of the published program, which run over the tokens of a memory. All memories' projections are computed for every
 * token.
 */
export class MixtureOfMemories extends MemoriesMixer<Inputs, Memories> {
  /** Queries, weight [H K, hidden], no bias. */
  q_proj: Linear;
  /** To the scores of the memories, weight [M, hidden], no bias. */
  gate: Linear;
  /** Keys of each memory, weights [H K, hidden]. */
  k_proj: ModuleList<Linear>;
  /** Values of each memory, weights [H V, hidden]. */
  v_proj: ModuleList<Linear>;
  /** Strengths of each memory before their sigmoid, weights [H, hidden]. */
  b_proj: ModuleList<Linear>;
  /** Of each memory, the part of the decay that depends on the token, weights [H, hidden]. */
  a_proj: ModuleList<Linear>;
  /** Those of the shared memory; null without one. */
  shared_k: Linear | null;
  /** Its values. */
  shared_v: Linear | null;
  /** Its strengths. */
  shared_b: Linear | null;
  /** Its decays. */
  shared_a: Linear | null;
  /** Log of each head's rate of decay, of all memories [H]; float32 also in a bfloat16 model. */
  A_log: Tensor;
  /** Added in front of the softplus of the decays [H]; float32 also in a bfloat16 model. */
  dt_bias: Tensor;
  /** To the gate of the output before its silu, weight [H V, hidden], no bias. */
  g_proj: Linear;
  /** Of each head's output, weight [V] for all heads. */
  o_norm: GatedRMSNorm;
  /** To the output, weight [hidden, H V], no bias. */
  o_proj: Linear;
  protected readonly rule = mixtureOfMemories as unknown as MemoriesRule<Inputs, Memories>;
  protected readonly shapes: { state: readonly number[]; sharedState?: readonly number[] };
  private readonly topK: number;

  constructor(
    hiddenSize: number,
    /** H, a divisor of hiddenSize. */
    readonly numHeads: number,
    options: MixtureOfMemoriesLayerOptions = {},
  ) {
    super();
    const where = 'MixtureOfMemories';
    checkOptions(where, options, OPTIONS);
    checkInteger(where, 'hiddenSize', hiddenSize, 1);
    checkHeads(where, 'numHeads', numHeads, hiddenSize);
    const {
      numMemories = 4,
      topK = 2,
      sharedMemory = true,
      headDim = hiddenSize / numHeads,
      normEps = 1e-5,
      ...on
    } = options;
    checkInteger(where, 'numMemories', numMemories, 1);
    const linear = (to: number, from = hiddenSize): Linear => new Linear(from, to, { bias: false, ...on });
    const each = (to: number): ModuleList<Linear> =>
      new ModuleList(Array.from({ length: numMemories }, () => linear(to)));
    const wide = numHeads * checkInteger(where, 'headDim', headDim, 1);
    const shape = [numHeads, headDim, headDim];
    this.topK = checkInteger(where, 'topK', topK, 1, numMemories);
    this.shapes = { state: [numMemories, ...shape], ...(sharedMemory && { sharedState: shape }) };
    this.q_proj = linear(wide);
    this.gate = linear(numMemories);
    this.k_proj = each(wide);
    this.v_proj = each(wide);
    this.b_proj = each(numHeads);
    this.a_proj = each(numHeads);
    this.shared_k = sharedMemory ? linear(wide) : null;
    this.shared_v = sharedMemory ? linear(wide) : null;
    this.shared_b = sharedMemory ? linear(numHeads) : null;
    this.shared_a = sharedMemory ? linear(numHeads) : null;
    this.A_log = logUniform(numHeads, 0, 16, on);
    this.dt_bias = timeStepBias(numHeads, on);
    this.g_proj = linear(wide);
    this.o_norm = new GatedRMSNorm(headDim, { eps: normEps, ...on });
    this.o_proj = linear(hiddenSize, wide);
  }

  protected override get keptInFloat32(): readonly string[] {
    return ['A_log', 'dt_bias'];
  }

  protected get reference(): Placed {
    return this.o_proj;
  }

  protected inputs(x: Tensor): Inputs {
    const { shared_k, shared_v, shared_b, shared_a, A_log, dt_bias } = this;
    const vectors = (proj: Linear): Tensor => toFloat32(splitHeads(proj.forward(x).silu(), this.numHeads));
    const unit = (proj: Linear): Tensor => l2Norm(vectors(proj));
    const strength = (proj: Linear): Tensor => toFloat32(proj.forward(x)).sigmoid();
    const decay = (proj: Linear): Tensor => gatedDeltaNetGate(proj.forward(x), A_log, dt_bias);
    const ofAll = (list: ModuleList<Linear>, f: (proj: Linear) => Tensor, dim: number): Tensor =>
      stack([...list].map(f), dim);
    return {
      q: unit(this.q_proj),
      k: ofAll(this.k_proj, unit, -3),
      v: ofAll(this.v_proj, vectors, -3),
      beta: ofAll(this.b_proj, strength, -2),
      gate: ofAll(this.a_proj, decay, -2),
      router: toFloat32(this.gate.forward(x)),
      topK: this.topK,
      ...(shared_k && {
        sharedK: unit(shared_k),
        sharedV: vectors(shared_v!),
        sharedBeta: strength(shared_b!),
        sharedGate: decay(shared_a!),
      }),
    };
  }

  protected readout(output: Tensor, x: Tensor): Tensor {
    const gate = splitHeads(this.g_proj.forward(x), this.numHeads);
    return this.o_proj.forward(mergeHeads(this.o_norm.forward(output, gate)));
  }
}
