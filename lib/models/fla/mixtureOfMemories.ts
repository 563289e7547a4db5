// The layer of a mixture of memories, with the weight names of flash-linear-attention (Du et al. 2025).
import { checkInteger, checkOptions, type OptionNames, type Tensor } from '../../core';
import { GatedRMSNorm, Linear, ModuleList, RMSNorm, ShortConvolution } from '../../nn';
import { type CuSeqlens, gatedDeltaNetGate, TENSOR_OPTIONS, type TensorOptions, toFloat32, zeros } from '../../ops';
import { deltaRule, type RoutedRows, routeRows } from '../../rules';
import { logUniform, timeStepBias } from '../common/initialize';
import {
  checkForward,
  checkHeads,
  mergeHeads,
  Recurrent,
  type SequenceOptions,
  type SequenceResult,
  splitHeads,
  stateDType,
  stepByForward,
} from '../common/mixer';
import { Router } from '../common/routing';
import { computable } from '../common/ruleMixer';
import { inRows, type MemoryBank, outOfRows, projectionsOfRows } from './memoryBanks';

/** Options of `MixtureOfMemories`, those that a tensor is made with among them. */
export interface MixtureOfMemoriesLayerOptions extends TensorOptions {
  /** M, 4 by default. */
  numMemories?: number;
  /** How many memories a token goes to, 2 by default. */
  topK?: number;
  /** Whether there is a memory for all tokens, too, true by default. */
  sharedMemory?: boolean;
  /** Whether all memories have the same projections to keys, values, strengths and decays, false by default. */
  singleProjection?: boolean;
  /** K, width of a head's queries and keys; hiddenSize / numHeads by default. */
  headDim?: number;
  /** V, width of a head's values; headDim by default. */
  valueDim?: number;
  /** Tokens of a memory that the convolutions of q, k and v see, 4 by default; none when null. */
  convSize?: number | null;
  /** Whether the output is gated, true by default. */
  outputGate?: boolean;
  /** In the norm of the output, 1e-5 by default. */
  normEps?: number;
}

const OPTIONS: OptionNames<MixtureOfMemoriesLayerOptions> = {
  ...TENSOR_OPTIONS,
  numMemories: true,
  topK: true,
  sharedMemory: 'flag',
  singleProjection: 'flag',
  headDim: true,
  valueDim: true,
  convSize: true,
  outputGate: 'flag',
  normEps: true,
};

/** Memories [B, M, ...] of which each token has seen a few, and, where there is one, that of all tokens [B, ...]. */
export type MixtureOfMemoriesState = { routed: MemoryBank; shared: MemoryBank | null };

/** Of each token [B, T, *]: what becomes q, k and v, strengths and decays. */
type Projected = Record<'q' | 'k' | 'v' | 'b' | 'a', Tensor>;
type Name = 'k' | 'v' | 'b' | 'a';

/**
 * Tokens go to the topK of M memories that a router names, each a gated delta rule over the tokens that it gets, with projections
 * of its own; what they answer is weighed by the router (Du et al. 2025, "MoM"). One more memory may have all tokens. q, k and v
 * pass convolutions over the tokens of a memory and silu, q and k have unit length, decays are those of Gated DeltaNet, and each
 * head's output is normed. The choice of memories is read back from the device, which waits for it.
 */
export class MixtureOfMemories extends Recurrent<MixtureOfMemoriesState> {
  /** Queries, weight [H K, hidden], no bias. */
  q_proj: Linear;
  /** To the scores of the memories, weight [M, hidden], no bias; computed in float32. */
  gate: Router;
  /** Keys of each memory, weights [H K, hidden]; null with `singleProjection`, like those below. */
  k_proj: ModuleList<Linear> | null;
  /** Values of each memory, weights [H V, hidden]. */
  v_proj: ModuleList<Linear> | null;
  /** Strengths of each memory before their sigmoid, weights [H, hidden]. */
  b_proj: ModuleList<Linear> | null;
  /** Of each memory, the part of the decay that depends on the token, weights [H, hidden]. */
  a_proj: ModuleList<Linear> | null;
  /** Keys of the shared memory, with `singleProjection` of all memories; null where there is neither, like those below. */
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
  /** Over the queries, weight [H K, 1, convSize], the same in all memories; null without `convSize`. */
  q_conv1d: ShortConvolution | null;
  /** Over the keys, weight [H K, 1, convSize]; null without `convSize`. */
  k_conv1d: ShortConvolution | null;
  /** Over the values, weight [H V, 1, convSize]; null without `convSize`. */
  v_conv1d: ShortConvolution | null;
  /** To the gate of the output before its silu, weight [H V, hidden], no bias; null without `outputGate`. */
  g_proj: Linear | null;
  /** Of each head's output, weight [V] for all heads. */
  o_norm: GatedRMSNorm | RMSNorm;
  /** To the output, weight [hidden, H V], no bias. */
  o_proj: Linear;
  private readonly numMemories: number;
  private readonly topK: number;
  private readonly shares: boolean;
  /** K and V. */
  private readonly widths: readonly [number, number];

  constructor(
    hiddenSize: number,
    /** H, a divisor of hiddenSize where `headDim` is left out. */
    readonly numHeads: number,
    options: MixtureOfMemoriesLayerOptions = {},
  ) {
    super();
    const where = 'MixtureOfMemories';
    checkOptions(where, options, OPTIONS);
    checkInteger(where, 'hiddenSize', hiddenSize, 1);
    if (options.headDim === undefined) checkHeads(where, 'numHeads', numHeads, hiddenSize);
    else checkInteger(where, 'numHeads', numHeads, 1);
    const {
      numMemories = 4,
      topK = 2,
      sharedMemory = true,
      singleProjection = false,
      headDim = hiddenSize / numHeads,
      valueDim = headDim,
      convSize = 4,
      outputGate = true,
      normEps = 1e-5,
      ...on
    } = options;
    this.numMemories = checkInteger(where, 'numMemories', numMemories, 1);
    this.topK = checkInteger(where, 'topK', topK, 1, numMemories);
    this.shares = sharedMemory;
    this.widths = [checkInteger(where, 'headDim', headDim, 1), checkInteger(where, 'valueDim', valueDim, 1)];
    const [keys, values] = this.widths.map((width) => numHeads * width);
    const linear = (to: number, from = hiddenSize): Linear => new Linear(from, to, { bias: false, ...on });
    const each = (to: number): ModuleList<Linear> | null =>
      singleProjection ? null : new ModuleList(Array.from({ length: numMemories }, () => linear(to)));
    const forAll = (to: number): Linear | null => (singleProjection || sharedMemory ? linear(to) : null);
    const conv = (dim: number): ShortConvolution | null =>
      convSize === null ? null : new ShortConvolution(dim, convSize, on);
    this.q_proj = linear(keys);
    this.gate = new Router(
      hiddenSize,
      {
        numExperts: numMemories,
        perToken: this.topK,
        scores: 'softmax',
        normalise: true,
        factor: 1,
        groups: 1,
        groupsPerToken: 1,
        correctionBias: false,
      },
      on,
    );
    this.k_proj = each(keys);
    this.v_proj = each(values);
    this.b_proj = each(numHeads);
    this.a_proj = each(numHeads);
    this.shared_k = forAll(keys);
    this.shared_v = forAll(values);
    this.shared_b = forAll(numHeads);
    this.shared_a = forAll(numHeads);
    this.A_log = logUniform(numHeads, 0, 16, on);
    this.dt_bias = timeStepBias(numHeads, on);
    this.q_conv1d = conv(keys);
    this.k_conv1d = conv(keys);
    this.v_conv1d = conv(values);
    this.g_proj = outputGate ? linear(values) : null;
    this.o_norm = new (outputGate ? GatedRMSNorm : RMSNorm)(valueDim, { eps: normEps, ...on });
    this.o_proj = linear(hiddenSize, values);
  }

  protected override get keptInFloat32(): readonly string[] {
    return ['A_log', 'dt_bias'];
  }

  forward(x: Tensor, options: SequenceOptions<MixtureOfMemoriesState> = {}): SequenceResult<MixtureOfMemoriesState> {
    checkForward(this, x, options);
    const { state = null, outputState = false, cuSeqlens = null } = options;
    const rows = routeRows(this.gate.forward(x), this.topK, cuSeqlens);
    const q = this.q_proj.forward(x);
    const ofAll = this.shared_k && {
      k: this.shared_k.forward(x),
      v: this.shared_v!.forward(x),
      b: this.shared_b!.forward(x),
      a: this.shared_a!.forward(x),
    };
    const routed = this.remember(
      this.sorted(x, q, ofAll, rows),
      state && inRows(state.routed),
      outputState,
      rows.offsets,
    );
    const shared = this.shares ? this.remember({ q, ...ofAll! }, state?.shared ?? null, outputState, cuSeqlens) : null;
    const mixed = this.mixed(routed.output, rows).reshape(...x.shape.slice(0, 2), this.numHeads, this.widths[1]);
    const output = this.readout(shared ? mixed.add(shared.output) : mixed, x);
    if (!outputState) return { output };
    return { output, state: { routed: outOfRows(routed.bank!, this.numMemories), shared: shared?.bank ?? null } };
  }

  step(x: Tensor, state: MixtureOfMemoriesState): Tensor {
    return stepByForward(this, x, state);
  }

  initialState(batch: number): MixtureOfMemoriesState {
    const where = { device: this.o_proj.device, dtype: stateDType(this.o_proj) };
    const bank = (...count: number[]): MemoryBank => {
      const convolutions = Object.entries(this.convolutions).map(([name, { dim, width }]) => [
        name,
        zeros([...count, dim, width - 1], where),
      ]);
      const memory = zeros([...count, this.numHeads, ...this.widths], where);
      return { memory, convolutions: Object.fromEntries(convolutions) as MemoryBank['convolutions'] };
    };
    return { routed: bank(batch, this.numMemories), shared: this.shares ? bank(batch) : null };
  }

  private get convolutions(): Record<string, ShortConvolution> {
    const { q_conv1d: q, k_conv1d: k, v_conv1d: v } = this;
    return q && k && v ? { q, k, v } : {};
  }

  /** What the memories get of their tokens, [1, R, *]. */
  private sorted(x: Tensor, q: Tensor, ofAll: Record<Name, Tensor> | null, rows: RoutedRows): Projected {
    const select = (t: Tensor): Tensor => t.reshape(-1, t.shape[2]).indexSelect(0, rows.tokens);
    const { k_proj, v_proj, b_proj, a_proj } = this;
    const project = k_proj && projectionsOfRows(x, rows);
    const of = (name: Name, own: ModuleList<Linear> | null): Tensor =>
      (own ? project!(own) : select(ofAll![name])).unsqueeze(0);
    const others = { k: of('k', k_proj), v: of('v', v_proj), b: of('b', b_proj), a: of('a', a_proj) };
    return { q: select(q).unsqueeze(0), ...others };
  }

  /** The gated delta rule over sequences from what a bank of memories keeps, and what it keeps then when asked for. */
  private remember(
    { b, a, ...vectors }: Projected,
    before: MemoryBank | null,
    outputFinalState: boolean,
    cuSeqlens: CuSeqlens | null,
  ): { output: Tensor; bank?: MemoryBank } {
    const { convolutions, A_log, dt_bias, numHeads } = this;
    const kept: MemoryBank['convolutions'] = {};
    const part = (name: 'q' | 'k' | 'v'): Tensor => {
      const past = { initialState: before?.convolutions[name] ?? null, outputFinalState, cuSeqlens };
      const seen = convolutions[name]?.forward(vectors[name], past) ?? { output: vectors[name].silu() };
      if (seen.finalState) kept[name] = seen.finalState.to(stateDType(this.o_proj));
      return computable(splitHeads(seen.output, numHeads));
    };
    const { output, finalState } = deltaRule(part('q'), part('k'), part('v'), {
      beta: toFloat32(b).sigmoid(),
      gate: gatedDeltaNetGate(a, A_log, dt_bias),
      qkL2Norm: true,
      initialState: before?.memory ?? null,
      outputFinalState,
      cuSeqlens,
    });
    if (!finalState) return { output: toFloat32(output) };
    return { output: toFloat32(output), bank: { memory: finalState.contiguous(), convolutions: kept } };
  }

  /** What memories answered their rows [1, R, H, V], weighed and added up for each token: [B T, H V]. */
  private mixed(output: Tensor, { places, weights }: RoutedRows): Tensor {
    const answers = mergeHeads(output).squeeze(0).indexSelect(0, places);
    return answers
      .reshape(...weights.shape, answers.shape[1])
      .mul(weights.unsqueeze(2))
      .sum(1);
  }

  private readout(output: Tensor, x: Tensor): Tensor {
    const { o_norm, g_proj } = this;
    const y = output.to(x.dtype);
    const gated = o_norm instanceof GatedRMSNorm;
    const normed = gated ? o_norm.forward(y, splitHeads(g_proj!.forward(x), this.numHeads)) : o_norm.forward(y);
    return this.o_proj.forward(mergeHeads(normed));
  }
}
