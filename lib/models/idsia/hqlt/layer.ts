// A layer of the hybrid quadratic-linear Transformer: softmax attention over a window beside fast weights.
import { checkObject, FastWeightsError, type Tensor } from '../../../core';
import { GatedRMSNorm, Linear, parameter, RMSNorm, ShortConvolution } from '../../../nn';
import {
  type CuSeqlens,
  cat,
  ones,
  rope,
  softmaxAttention,
  split,
  type TensorOptions,
  toFloat32,
  zeros,
} from '../../../ops';
import {
  checkForward,
  checkStep,
  mergeHeads,
  Recurrent,
  type SequenceOptions,
  type SequenceResult,
  splitHeads,
  stateDType,
} from '../../common/mixer';
import { append, seen } from '../../common/recent';
import type { HybridQLTConfiguration } from './configuration';
import { attendInChunks, type DeltaOperands } from './delayed';
import { program, programToken } from './fastWeights';
import { type HybridQLTState, keptBefore, pastOf, writesLater } from './state';

type Convolve = (name: string, convolution: ShortConvolution, x: Tensor) => Tensor;

/**
 * Two memories on the same queries, keys and values: softmax attention over the last tokens, exact and short, and fast
 * weights, which hold the whole past in constant room (HQLT, Irie et al. 2025); in `mode` they share the tokens. Weight names
 * of the published program (kazuki-irie/hybrid-memory, `HybridQLT`). Packed sequences have no state (UNSUPPORTED).
 */
export class HybridQLT extends Recurrent<HybridQLTState> {
  /** To the queries, weight [numHeads * keyDim, hiddenSize], no bias. */
  q_proj: Linear;
  /** To the keys, weight [numHeads * keyDim, hiddenSize], no bias. */
  k_proj: Linear;
  /** To the values, weight [numHeads * valueDim, hiddenSize], no bias. */
  v_proj: Linear;
  /** To the strength of the write before its sigmoid, weight [numHeads, hiddenSize]; null without `useBeta`. */
  b_proj: Linear | null;
  /** Over the queries, weight [numHeads * keyDim, 1, convSize]; null without `convSize`. */
  q_conv1d: ShortConvolution | null;
  /** Over the keys; null without `convSize`. */
  k_conv1d: ShortConvolution | null;
  /** Over the values, weight [numHeads * valueDim, 1, convSize], with silu; null without `convSize`. */
  v_conv1d: ShortConvolution | null;
  /** 'gate': to a gate for each value, 'gate2': per head to those of the fast weights, then those of the attention. */
  memory_gate_proj: Linear | null;
  /** 'dynamic': to the weights of the fast weights of all heads, then those of the attention. */
  memory_mixer: Linear | null;
  /** 'static': the weight [1] of the fast weights, 1 at first. */
  fw_scale: Tensor | null;
  /** 'static': the weight [1] of the attention, 1 at first. */
  kv_scale: Tensor | null;
  /** To the gate of the output before its silu, weight [numHeads * valueDim, hiddenSize]; null without `useGate`. */
  g_proj: Linear | null;
  /** Of each head's output, weight [valueDim] for all heads; times silu of the gate with `useGate`. */
  o_norm: RMSNorm | GatedRMSNorm;
  /** From the heads to the output, weight [hiddenSize, numHeads * valueDim], no bias. */
  o_proj: Linear;

  constructor(
    /** That of the model, of which the layer reads its sizes and switches. */
    readonly config: HybridQLTConfiguration,
    options: TensorOptions = {},
  ) {
    super();
    checkObject(new.target.name, 'config', config);
    const { hiddenSize, numHeads, keyDim, valueDim, normEps, combine, useBeta, useGate, convSize } = config;
    const [keys, values] = [numHeads * keyDim, numHeads * valueDim];
    const linear = (rows: number): Linear => new Linear(hiddenSize, rows, { bias: false, ...options });
    const conv = (dim: number, activation: 'silu' | null): ShortConvolution | null =>
      convSize === null ? null : new ShortConvolution(dim, convSize, { activation, ...options });
    this.q_proj = linear(keys);
    this.k_proj = linear(keys);
    this.v_proj = linear(values);
    this.b_proj = useBeta ? linear(numHeads) : null;
    this.q_conv1d = conv(keys, null);
    this.k_conv1d = conv(keys, null);
    this.v_conv1d = conv(values, 'silu');
    this.memory_gate_proj = combine === 'gate' ? linear(values) : combine === 'gate2' ? linear(2 * values) : null;
    this.memory_mixer = combine === 'dynamic' ? linear(2 * numHeads) : null;
    const scale = (): Tensor | null => (combine === 'static' ? parameter(ones([1], options)) : null);
    this.fw_scale = scale();
    this.kv_scale = scale();
    this.g_proj = useGate ? linear(values) : null;
    this.o_norm = useGate
      ? new GatedRMSNorm(valueDim, { eps: normEps, ...options })
      : new RMSNorm(valueDim, { eps: normEps, ...options });
    this.o_proj = new Linear(values, hiddenSize, { bias: false, ...options });
  }

  forward(x: Tensor, options: SequenceOptions<HybridQLTState> = {}): SequenceResult<HybridQLTState> {
    checkForward(this, x, options);
    const { state = null, outputState = false, cuSeqlens = null } = options;
    if (cuSeqlens && (state || outputState)) {
      throw new FastWeightsError('UNSUPPORTED', 'HybridQLT: packed sequences have no state', { argument: 'cuSeqlens' });
    }
    const convolutions: Record<string, Tensor> = {};
    const operands = this.operands(x, (name, convolution, input) => {
      const initialState = state?.convolutions[name] ?? null;
      const result = convolution.forward(input, { initialState, outputFinalState: outputState, cuSeqlens });
      if (result.finalState) convolutions[name] = result.finalState.to(stateDType(this.o_proj));
      return result.output;
    });
    const position = state?.position ?? 0;
    const {
      output,
      memory,
      normalizer = null,
      chunkStart = null,
    } = program(this.config, operands, state, cuSeqlens, outputState);
    const [q, k] = [operands.q, operands.k].map((t) => this.turned(t, position, cuSeqlens));
    const past = state && pastOf(this.config, state);
    const keys = past ? cat([past.keys.to(k.dtype), k], 1) : k;
    const values = past ? cat([past.values.to(k.dtype), operands.v], 1) : operands.v;
    const { mode, window } = this.config;
    const attended =
      mode === 'delayedChunk'
        ? attendInChunks(q, keys, values, { size: window, cuSeqlens })
        : softmaxAttention(q, keys, values, { window, cuSeqlens });
    const result = this.readout(output.to(x.dtype), attended, x);
    if (!outputState) return { output: result };
    const end = position + x.shape[1];
    const unturned = writesLater(this.config)
      ? past
        ? cat([past.unturned!.to(k.dtype), operands.k], 1)
        : operands.k
      : null;
    const recent = this.recentOf(end, keys, values, unturned);
    return {
      output: result,
      state: {
        memory: memory!.contiguous(),
        normalizer: normalizer?.contiguous() ?? null,
        chunkStart,
        recent,
        convolutions,
        position: end,
      },
    };
  }

  step(x: Tensor, state: HybridQLTState): Tensor {
    checkStep(this, x, state);
    const operands = this.operands(x, (name, convolution, input) => convolution.step(input, state.convolutions[name]));
    const { mode, window } = this.config;
    const { recent, position } = state;
    // A new chunk: attention sees nothing of the last one, whose writes now count.
    if (mode === 'delayedChunk' && position % window === 0) {
      recent.start = recent.end;
      state.chunkStart!.copy_(state.memory);
    }
    const output = programToken(this.config, operands, state);
    const [q, k] = [operands.q, operands.k].map((t) => this.turned(t.unsqueeze(1), position, null));
    const unturned = writesLater(this.config) && { unturned: operands.k.unsqueeze(1) };
    append(recent, { keys: k, values: operands.v.unsqueeze(1), ...unturned }, window);
    state.position++;
    const [keys, values] = [recent.keys, recent.values].map((t) => seen(t, recent));
    const attended = softmaxAttention(q.to(keys.dtype), keys, values).squeeze(1);
    return this.readout(output.to(x.dtype), attended.to(x.dtype), x);
  }

  initialState(batch: number): HybridQLTState {
    const { numHeads, keyDim, valueDim, mode } = this.config;
    const where = { device: this.o_proj.device, dtype: stateDType(this.o_proj) };
    const empty = (width: number): Tensor => zeros([batch, 0, numHeads, width], where);
    const memory = (): Tensor => zeros([batch, numHeads, keyDim, valueDim], where);
    const convolutions: Record<string, Tensor> = {};
    for (const [name, convolution] of Object.entries(this.convolutions)) {
      if (convolution) convolutions[name] = convolution.initialState(batch);
    }
    return {
      memory: memory(),
      normalizer: mode === 'synchronousLinear' ? zeros([batch, numHeads, keyDim], where) : null,
      chunkStart: mode === 'delayedChunk' ? memory() : null,
      recent: {
        keys: empty(keyDim),
        values: empty(valueDim),
        unturned: writesLater(this.config) ? empty(keyDim) : null,
        start: 0,
        end: 0,
      },
      convolutions,
      position: 0,
    };
  }

  private get convolutions(): Record<string, ShortConvolution | null> {
    return { q: this.q_conv1d, k: this.k_conv1d, v: this.v_conv1d };
  }

  private operands(x: Tensor, convolve: Convolve): DeltaOperands {
    const { numHeads, allowNegEigval } = this.config;
    const { q_proj, k_proj, v_proj, convolutions } = this;
    const part = (name: string, proj: Linear, activation: 'silu' | null): Tensor => {
      const conv = convolutions[name];
      const projected = conv ? convolve(name, conv, proj.forward(x)) : proj.forward(x, { activation });
      return splitHeads(projected, numHeads);
    };
    const strength = toFloat32(this.b_proj?.forward(x))?.sigmoid();
    return {
      q: part('q', q_proj, null),
      k: part('k', k_proj, null),
      v: part('v', v_proj, 'silu'),
      beta: (strength && allowNegEigval ? strength.mul(2) : strength) ?? null,
    };
  }

  private turned(x: Tensor, offset: number, cuSeqlens: CuSeqlens | null): Tensor {
    return this.config.rotary ? rope(x, { offset, cuSeqlens }) : x;
  }

  private recentOf(position: number, keys: Tensor, values: Tensor, unturned: Tensor | null): HybridQLTState['recent'] {
    const count = keptBefore(this.config, position);
    const dtype = stateDType(this.o_proj);
    const last = (t: Tensor): Tensor =>
      t
        .slice(1, t.shape[1] - count)
        .to(dtype)
        .clone();
    return { keys: last(keys), values: last(values), unturned: unturned && last(unturned), start: 0, end: count };
  }

  private combined(fast: Tensor, attended: Tensor, x: Tensor): Tensor {
    const { memory_gate_proj, memory_mixer, fw_scale, kv_scale } = this;
    const { numHeads, valueDim, combine } = this.config;
    if (memory_gate_proj) {
      const gates = splitHeads(memory_gate_proj.forward(x).sigmoid(), numHeads);
      if (combine === 'gate') return attended.add(gates.mul(fast.sub(attended)));
      const [ofFast, ofAttended] = split(gates, [valueDim, valueDim], -1);
      return ofFast.mul(fast).add(ofAttended.mul(attended));
    }
    if (memory_mixer) {
      const weights = memory_mixer.forward(x).sigmoid().unsqueeze(-1);
      const [ofFast, ofAttended] = split(weights, [numHeads, numHeads], -2);
      return ofFast.mul(fast).add(ofAttended.mul(attended));
    }
    if (fw_scale && kv_scale) return fw_scale.mul(fast).add(kv_scale.mul(attended));
    return fast.add(attended);
  }

  private readout(fast: Tensor, attended: Tensor, x: Tensor): Tensor {
    const { g_proj, o_norm } = this;
    const output = this.combined(fast, attended, x);
    const normed =
      o_norm instanceof GatedRMSNorm
        ? o_norm.forward(output, splitHeads(g_proj!.forward(x), this.config.numHeads))
        : o_norm.forward(output);
    return this.o_proj.forward(mergeHeads(normed));
  }
}
