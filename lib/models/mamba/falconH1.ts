// Falcon-H1: Mamba-2 and attention read the same tokens beside each other (Falcon-LLM 2025; layout of transformers). Multipliers
// of a maximal-update parametrisation stand everywhere.
import type { OptionNames, Tensor } from '../../core';
import type { State } from '../../inference';
import { RMSNorm, SwiGLU } from '../../nn';
import { swiglu, tensor, type TensorOptions } from '../../ops';
import { Attention, type KeyValueCache } from '../common/attention';
import { Block } from '../common/block';
import { CausalLM } from '../common/causalLM';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import type { Count, EitherSpelling, Flag } from '../common/keys';
import { type SequenceOptions, type SequenceResult, stepOf } from '../common/mixer';
import type { ModelDefinition } from '../common/registry';
import { ScaledEmbedding } from '../common/scaledEmbedding';
import { HYBRID_KEYS, type HybridConfiguration, HybridDecoder, type HybridKeys, readHybrid } from './hybrid';
import { Mamba2Mixer, type Mamba2Shape, type Mamba2State } from './mamba2Mixer';

/** What multiplies where; 1 by default. */
interface MultiplierKeys {
  /** Vectors of tokens. */
  embeddingMultiplier?: Count;
  /** Logits. */
  lmHeadMultiplier?: Count;
  /** What goes into attention. */
  attentionInMultiplier?: Count;
  /** What comes out of it. */
  attentionOutMultiplier?: Count;
  /** Its keys. */
  keyMultiplier?: Count;
  /** What goes into Mamba-2. */
  ssmInMultiplier?: Count;
  /** What comes out of it. */
  ssmOutMultiplier?: Count;
  /** Gate, values, keys, queries and steps in time, as they are projected. */
  ssmMultipliers?: readonly number[] | null;
  /** The gate of the feed-forward before its silu, and its result. */
  mlpMultipliers?: readonly number[] | null;
}

export interface FalconH1Keys extends HybridKeys<'falcon_h1'>, MultiplierKeys {
  /** The width inside a layer of Mamba-2, 1024 by default; null for the expansion times hiddenSize. */
  mambaDSsm?: Count;
  /** Whether the output of Mamba-2 has a norm, false by default. */
  mambaRmsNorm?: Flag;
  /** Whether its gate multiplies the norm, true by default, or what is normed. */
  mambaNormBeforeGate?: Flag;
  /** Whether the projection out of Mamba-2 has a bias, false by default. */
  projectorsBias?: Flag;
}

const MULTIPLIER_KEYS: OptionNames<MultiplierKeys> = {
  embeddingMultiplier: true,
  lmHeadMultiplier: true,
  attentionInMultiplier: true,
  attentionOutMultiplier: true,
  keyMultiplier: true,
  ssmInMultiplier: true,
  ssmOutMultiplier: true,
  ssmMultipliers: true,
  mlpMultipliers: true,
};

/** What `FalconH1ForCausalLM` reads from its keys, with the defaults filled in. */
export interface FalconH1Configuration extends HybridConfiguration {
  /** Of the vectors of tokens, of the logits, and around both mixers. */
  readonly multipliers: Readonly<
    Record<'embedding' | 'head' | 'attentionIn' | 'attentionOut' | 'mambaIn' | 'mambaOut', number>
  >;
  /** Of gate, values, keys, queries and steps in time, as Mamba-2 projects them. */
  readonly projected: readonly number[];
  /** Of the gate of the feed-forward before its silu, and of its result. */
  readonly feedForward: readonly number[];
}

function readConfiguration(input: object): FalconH1Configuration {
  const reader = ConfigurationReader.of(input, falconH1Family);
  const config = readHybrid(reader, falconH1Family, {
    inner: reader.source.mamba_d_ssm === null ? null : reader.size('mamba_d_ssm', 1024),
    rotary: { length: 8192 },
    outputBias: reader.flag('projectors_bias', false),
    norm: (eps, groups) => {
      const beforeGate = reader.flag('mamba_norm_before_gate', true);
      return reader.flag('mamba_rms_norm', false) ? { eps, groups, beforeGate } : null;
    },
  });
  const multiplier = (key: string): number => reader.number(`${key}_multiplier`, 1, -Infinity);
  const scale = multiplier('key') * config.attention.headDim ** -0.5;
  return {
    ...config,
    attention: { ...config.attention, scale },
    multipliers: {
      embedding: multiplier('embedding'),
      head: multiplier('lm_head'),
      attentionIn: multiplier('attention_in'),
      attentionOut: multiplier('attention_out'),
      mambaIn: multiplier('ssm_in'),
      mambaOut: multiplier('ssm_out'),
    },
    projected: reader.numbers('ssm_multipliers', [1, 1, 1, 1, 1]),
    feedForward: reader.numbers('mlp_multipliers', [1, 1]),
  };
}

const times = (x: Tensor, factor: number): Tensor => (factor === 1 ? x : x.mul(factor));

class ScaledMixer extends Mamba2Mixer {
  /** One factor for each row of the projection. */
  factors: Tensor | null;

  constructor(
    shape: Mamba2Shape,
    private readonly input: number,
    projected: readonly number[],
    options: TensorOptions,
  ) {
    super(shape, options);
    const { numHeads, headDim, numGroups, stateSize } = shape;
    const rows = [numHeads * headDim, numHeads * headDim, numGroups * stateSize, numGroups * stateSize, numHeads];
    const factors = projected.flatMap((factor, part) => new Array<number>(rows[part]).fill(factor));
    this.factors = projected.every((factor) => factor === 1)
      ? null
      : this.registerBuffer('factors', tensor(factors, options), { persistent: false });
  }

  protected override project(x: Tensor): Tensor {
    const rows = super.project(times(x, this.input));
    return this.factors ? rows.mul(this.factors) : rows;
  }
}

class ScaledFeedForward extends SwiGLU {
  constructor({ hiddenSize, intermediateSize, mlpBias }: FalconH1Configuration, options: TensorOptions) {
    super(hiddenSize, intermediateSize, { bias: mlpBias, ...options });
  }

  /** y + the feed-forward of x, gate and result scaled. */
  scaled(x: Tensor, y: Tensor, [gate, result]: readonly number[]): Tensor {
    if (gate === 1 && result === 1) return this.forward(x, y);
    const hidden = swiglu(times(this.gate_proj.forward(x), gate), this.up_proj.forward(x));
    return times(this.down_proj.forward(hidden), result).add(y);
  }
}

type FalconState = { mamba: Mamba2State; attention: KeyValueCache };

class FalconH1Block extends Block {
  input_layernorm: RMSNorm;
  mamba: Mamba2Mixer;
  self_attn: Attention;
  pre_ff_layernorm: RMSNorm;
  feed_forward: ScaledFeedForward;

  constructor(
    private readonly config: FalconH1Configuration,
    options: TensorOptions,
  ) {
    super();
    const { hiddenSize, normEps, mamba, attention, projected, multipliers } = config;
    this.input_layernorm = new RMSNorm(hiddenSize, { eps: normEps, ...options });
    this.mamba = new ScaledMixer(mamba, multipliers.mambaIn, projected, options);
    this.self_attn = new Attention(attention, options);
    this.pre_ff_layernorm = new RMSNorm(hiddenSize, { eps: normEps, ...options });
    this.feed_forward = new ScaledFeedForward(config, options);
  }

  mix(x: Tensor, options: SequenceOptions): SequenceResult {
    const { state = null, ...rest } = options;
    const before = state as FalconState | null;
    const y = this.input_layernorm.forward(x);
    const { attentionIn } = this.config.multipliers;
    const mamba = this.mamba.forward(y, { ...rest, state: before?.mamba ?? null });
    const attention = this.self_attn.forward(times(y, attentionIn), { ...rest, state: before?.attention ?? null });
    const output = this.sum(x, mamba.output, attention.output);
    if (!mamba.state || !attention.state) return { output };
    return { output, state: { mamba: mamba.state, attention: attention.state } };
  }

  mixStep(x: Tensor, state: State): Tensor {
    const { mamba, attention } = state as FalconState;
    const y = this.input_layernorm.forward(x);
    const { attentionIn } = this.config.multipliers;
    return this.sum(x, stepOf(this.mamba, y, mamba), stepOf(this.self_attn, times(y, attentionIn), attention));
  }

  feedForward(x: Tensor): Tensor {
    return this.feed_forward.scaled(this.pre_ff_layernorm.forward(x), x, this.config.feedForward);
  }

  initialState(batch: number): FalconState {
    return { mamba: this.mamba.initialState(batch), attention: this.self_attn.initialState(batch) };
  }

  protected override ragged(batch: number): State {
    return { mamba: this.mamba.raggedState(batch), attention: this.self_attn.raggedState(batch) };
  }

  private sum(x: Tensor, mamba: Tensor, attention: Tensor): Tensor {
    const { mambaOut, attentionOut } = this.config.multipliers;
    return x.add(times(mamba, mambaOut)).add(times(attention, attentionOut));
  }
}

/**
 * Language model of `Mamba2Mixer` and `Attention` beside each other in every layer under the weight names of transformers'
 * FalconH1ForCausalLM, `model_type` 'falcon_h1'; 32 layers of width 4096 with 128 heads of 64 values and 256 keys by default.
 */
export class FalconH1ForCausalLM extends CausalLM<FalconH1Configuration> {
  constructor(input: EitherSpelling<FalconH1Keys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    const embedding = new ScaledEmbedding(config.vocabSize, config.hiddenSize, config.multipliers.embedding, options);
    const decoder = new HybridDecoder(config, () => new FalconH1Block(config, options), options, embedding);
    super(config, decoder, options);
  }

  protected override logitsOf(hidden: Tensor): Tensor {
    return times(super.logitsOf(hidden), this.config.multipliers.head);
  }
}

export const falconH1Family: ModelDefinition<FalconH1Keys, 'falcon-h1'> = {
  modelType: 'falcon_h1',
  name: 'falcon-h1',
  architecture: 'FalconH1ForCausalLM',
  description: 'Falcon-H1: Mamba-2 and softmax attention beside each other (Falcon-LLM 2025)',
  keys: {
    ...HYBRID_KEYS,
    ...MULTIPLIER_KEYS,
    mambaDSsm: true,
    mambaRmsNorm: 'flag',
    mambaNormBeforeGate: 'flag',
    projectorsBias: 'flag',
  },
  configuration: ({ numHeads, headDim, feedForward }) => ({
    numAttentionHeads: numHeads,
    numKeyValueHeads: numHeads,
    intermediateSize: feedForward,
    mambaDSsm: null,
    mambaNHeads: numHeads,
    mambaDState: headDim,
  }),
  model: FalconH1ForCausalLM,
};
