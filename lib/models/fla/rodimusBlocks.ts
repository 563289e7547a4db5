// The blocks of Rodimus: the mixer alone, and Rodimus+, where attention with one key for all heads and a feed-forward follow.
import type { Tensor } from '../../core';
import type { Stages, State } from '../../inference';
import { RMSNorm, SwiGLU } from '../../nn';
import type { TensorOptions } from '../../ops';
import { Attention, type AttentionShape, type KeyValueCache } from '../common/attention';
import { Layer, MixerBlock, type MixerParts } from '../common/block';
import type { FastWeightState } from '../common/fastWeightMixer';
import { type Beside, partOf, type SequenceOptions, type SequenceResult, stepOf } from '../common/mixer';
import { RodimusAttention, type RodimusAttentionOptions } from './rodimusAttention';
import type { FlaConfiguration } from './skeleton';

/** What the blocks read of a configuration. */
export interface RodimusShape extends FlaConfiguration {
  /** K, width of the keys (`expand_ratio`, 64 by default). */
  readonly keyDim: number;
  /** Width inside the gate of the values (`input_gate_low_rank`; hiddenSize / 64, 16 at least, by default). */
  readonly gateRank: number;
  /** Tokens that the convolution sees, 4 by default; null without `use_short_conv`, which is true by default. */
  readonly convSize: number | null;
}

function makeMixer(config: RodimusShape, options: TensorOptions): RodimusAttention {
  const { hiddenSize, keyDim, gateRank, convSize, normEps } = config;
  const own: RodimusAttentionOptions = { keyDim, gateRank, convSize, normEps, ...options };
  return new RodimusAttention(hiddenSize, own);
}

/** x + mixer(norm(x)), and nothing else. */
export class RodimusBlock extends MixerBlock {
  mixer_norm: RMSNorm;
  mixer: RodimusAttention;

  constructor(config: RodimusShape, options: TensorOptions) {
    super();
    this.mixer_norm = new RMSNorm(config.hiddenSize, { eps: config.normEps, ...options });
    this.mixer = makeMixer(config, options);
  }

  protected get parts(): MixerParts {
    return { mixerNorm: this.mixer_norm, mixer: this.mixer };
  }
}

type PlusState = { mixer: FastWeightState; attention: KeyValueCache };

/**
 * y = x + mixer(norm(x)), then y + feedForward(norm(y + attention(norm(y)))): the residual goes round attention and feed-forward
 * in one, the "two hops" of the paper.
 */
export class RodimusPlusBlock extends Layer {
  mixer_norm: RMSNorm;
  mixer: RodimusAttention;
  ska_attn_norm: RMSNorm;
  ska_attn: Attention;
  mlp_norm: RMSNorm;
  mlp: SwiGLU;

  constructor(config: RodimusShape, attention: AttentionShape, options: TensorOptions) {
    super();
    const { hiddenSize, intermediateSize, normEps } = config;
    const norm = (): RMSNorm => new RMSNorm(hiddenSize, { eps: normEps, ...options });
    this.mixer_norm = norm();
    this.mixer = makeMixer(config, options);
    this.ska_attn_norm = norm();
    this.ska_attn = new Attention(attention, options);
    this.mlp_norm = norm();
    this.mlp = new SwiGLU(hiddenSize, intermediateSize, options);
  }

  *stages(x: Tensor, options: SequenceOptions): Stages<SequenceResult> {
    const { state = null, ...rest } = options;
    const before = state as PlusState | null;
    const mixed = partOf(() => {
      const result = this.mixer.forward(this.mixer_norm.forward(x), { ...rest, state: before?.mixer ?? null });
      return { output: x.add(result.output), state: result.state };
    }, rest);
    yield [mixed.output, mixed.state ?? null];
    const last = partOf(() => {
      const y = this.ska_attn_norm.forward(mixed.output);
      const attended = this.ska_attn.forward(y, { ...rest, state: before?.attention ?? null });
      return { output: this.feed(mixed.output, attended.output), state: attended.state };
    }, rest);
    mixed.output.dispose();
    if (!mixed.state || !last.state) return { output: last.output };
    return { output: last.output, state: { mixer: mixed.state, attention: last.state } };
  }

  *stepStages(x: Tensor, state: State, beside: Beside): Stages<Tensor> {
    const { mixer, attention } = state as PlusState;
    const mixed = x.add(stepOf(this.mixer, this.mixer_norm.forward(x), mixer, beside));
    yield mixed;
    return this.feed(mixed, stepOf(this.ska_attn, this.ska_attn_norm.forward(mixed), attention, beside));
  }

  initialState(batch: number): PlusState {
    return { mixer: this.mixer.initialState(batch), attention: this.ska_attn.initialState(batch) };
  }

  protected override ragged(batch: number): State {
    return { mixer: this.mixer.raggedState(batch), attention: this.ska_attn.raggedState(batch) };
  }

  private feed(mixed: Tensor, attended: Tensor): Tensor {
    return this.mlp.forward(this.mlp_norm.forward(mixed.add(attended)), mixed);
  }
}
