// Language models of this line's sublayers: a memory and a feed-forward per block, both pre-norm, no norm at the end (the
// algorithmic code; spec 2.3.3, 2.4, 2.5).
import type { Tensor } from '../../core';
import type { State } from '../../inference';
import { Embedding } from '../../nn';
import type { TensorOptions } from '../../ops';
import { Block, Decoder } from '../common/block';
import { CausalLM } from '../common/causalLM';
import { type Configuration, ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import type { CommonKeys, Count, EitherSpelling, Flag } from '../common/keys';
import type { SequenceOptions, SequenceResult } from '../common/mixer';
import type { ModelDefinition } from '../common/registry';
import { DeltaLstmLayer, DeltaRnnLayer, RecurrentDeltaLayer } from './recurrentLayers';
import { SelfReferentialLayer } from './selfReferentialLayer';
import { FeedForwardSublayer, type MemoryState, type Sublayer, type SublayerOptions } from './sublayer';

/** Keys of all families of this file. */
export interface FastWeightKeys<T extends string = string> extends CommonKeys<T> {
  intermediateSize?: Count;
  normEps?: Count;
  numHeads?: Count;
  /** Probability, while training, behind the memory and twice in the feed-forward; 0 by default. */
  dropout?: Count;
}

/** What these models read from their keys, with the defaults filled in. */
export interface FastWeightConfiguration extends Configuration {
  /** Width between the two layers of the feed-forward (`intermediate_size`, 4 * hiddenSize by default). */
  readonly intermediateSize: number;
  /** Added to the variance in every LayerNorm (`norm_eps`, 1e-5 by default). */
  readonly normEps: number;
  /** A divisor of hiddenSize (`num_heads`, 4 by default); each has a memory of its own. */
  readonly numHeads: number;
  /** Probability of dropout while training. */
  readonly dropout: number;
}

/** A block of two published sublayers, each with its own norm and residual. */
class SublayerBlock extends Block {
  memory: Sublayer;
  mlp: FeedForwardSublayer;

  constructor(memory: Sublayer, config: FastWeightConfiguration, options: TensorOptions) {
    super();
    const { hiddenSize, intermediateSize, dropout, normEps } = config;
    this.memory = memory;
    this.mlp = new FeedForwardSublayer(hiddenSize, intermediateSize, { dropout, normEps, ...options });
  }

  mix(x: Tensor, options: SequenceOptions): SequenceResult {
    return this.memory.forward(x, options as SequenceOptions<MemoryState>);
  }

  mixStep(x: Tensor, state: State): Tensor {
    return this.memory.step(x, state as MemoryState);
  }

  initialState(batch: number): State {
    return this.memory.initialState(batch);
  }

  feedForward(x: Tensor): Tensor {
    return this.mlp.forward(x);
  }
}

class SublayerDecoder extends Decoder {
  embeddings: Embedding;
  layers: SublayerBlock[];
  readonly norm = null;

  constructor(config: FastWeightConfiguration, memory: () => Sublayer, options: TensorOptions) {
    super();
    const { vocabSize, hiddenSize, numHiddenLayers } = config;
    this.embeddings = new Embedding(vocabSize, hiddenSize, options);
    this.layers = Array.from({ length: numHiddenLayers }, () => new SublayerBlock(memory(), config, options));
  }

  get tokens(): Embedding {
    return this.embeddings;
  }
}

type Definition = ModelDefinition<CommonKeys>;

/** Reads the keys that all families share. */
function readCommon(reader: ConfigurationReader, family: Definition): FastWeightConfiguration {
  const common = reader.common(family, { vocabSize: 32000, hiddenSize: 256, numHiddenLayers: 4 }, ['dropout']);
  const numHeads = reader.size('num_heads', 4);
  reader.divides(common.hiddenSize, 'num_heads', numHeads);
  return {
    ...common,
    intermediateSize: reader.size('intermediate_size', 4 * common.hiddenSize),
    normEps: reader.number('norm_eps', 1e-5),
    numHeads,
    dropout: reader.dropout('dropout'),
  };
}

const sublayerOptions = (config: FastWeightConfiguration, options: TensorOptions): SublayerOptions => ({
  dropout: config.dropout,
  normEps: config.normEps,
  ...options,
});

const KEYS = { intermediateSize: true, normEps: true, numHeads: true, dropout: true } as const;

type Sizes = { numHeads: number; hiddenSize: number; intermediateSize?: number };
const sizesOf = ({ numHeads, hiddenSize, intermediateSize = 4 * hiddenSize }: Sizes): object => ({
  numHeads,
  intermediateSize,
});

/** Keys of the self-referential model. */
export interface SrwmKeys extends FastWeightKeys<'srwm'> {
  /** Softmax of each head's input first; as `separateY` by default. */
  inputSoftmax?: Flag;
  /** The read-out has an input of its own, in front of the softmax, and a LayerNorm; false by default. */
  separateY?: Flag;
  /** The matrix programs a delta memory (SR-Delta); false by default. */
  deltaMemory?: Flag;
  /** Deviation of the query's columns at the start, in 1 / sqrt(head width); 0.01 by default. */
  queryInit?: Count;
  /** Mean of the strengths before their sigmoid at the start; -1 by default. */
  betaInit?: Count;
}

/** What `SrwmForCausalLM` reads from its keys. */
export interface SrwmConfiguration extends FastWeightConfiguration {
  /** Softmax of each head's input first (`input_softmax`, as `separate_y` by default). */
  readonly inputSoftmax: boolean;
  /** The read-out has an input of its own and a LayerNorm (`separate_y`, false by default). */
  readonly separateY: boolean;
  /** The matrix programs a delta memory (`delta_memory`, false by default). */
  readonly deltaMemory: boolean;
  /** Deviation of the query's columns at the start, in 1 / sqrt(head width) (`query_init`, 0.01 by default). */
  readonly queryInit: number;
  /** Mean of the strengths before their sigmoid at the start (`beta_init`, -1 by default). */
  readonly betaInit: number;
}

function readSrwm(input: object): SrwmConfiguration {
  const reader = ConfigurationReader.of(input, srwmFamily);
  const separateY = reader.flag('separate_y', false);
  return {
    ...readCommon(reader, srwmFamily),
    inputSoftmax: reader.flag('input_softmax', separateY),
    separateY,
    deltaMemory: reader.flag('delta_memory', false),
    queryInit: reader.number('query_init', 0.01),
    betaInit: reader.number('beta_init', -1, -Infinity),
  };
}

/**
 * Language model of `SelfReferentialLayer`s: a weight matrix per head and layer that rewrites itself as the text is read;
 * `model_type` 'srwm', 4 layers of width 256 by default.
 */
export class SrwmForCausalLM extends CausalLM<SrwmConfiguration> {
  constructor(input: EitherSpelling<SrwmKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readSrwm(input);
    const { hiddenSize, numHeads, inputSoftmax, separateY, deltaMemory, queryInit, betaInit } = config;
    const own = { inputSoftmax, separateY, deltaMemory, queryInit, betaInit, ...sublayerOptions(config, options) };
    super(
      config,
      new SublayerDecoder(config, () => new SelfReferentialLayer(hiddenSize, numHeads, own), options),
      options,
    );
  }
}

export const srwmFamily: ModelDefinition<SrwmKeys, 'srwm'> = {
  modelType: 'srwm',
  name: 'srwm',
  architecture: 'SrwmForCausalLM',
  description: 'self-referential weight matrices, which rewrite themselves (Irie et al. 2022)',
  keys: { ...KEYS, inputSoftmax: 'flag', separateY: 'flag', deltaMemory: 'flag', queryInit: true, betaInit: true },
  configuration: sizesOf,
  model: SrwmForCausalLM,
};

/** Keys of the recurrent delta net. */
export type RecurrentDeltaKeys = FastWeightKeys<'recurrent_delta'>;

/** Language model of `RecurrentDeltaLayer`s; `model_type` 'recurrent_delta', 4 layers of width 256 by default. */
export class RecurrentDeltaForCausalLM extends CausalLM<FastWeightConfiguration> {
  constructor(input: EitherSpelling<RecurrentDeltaKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readCommon(ConfigurationReader.of(input, recurrentDeltaFamily), recurrentDeltaFamily);
    const { hiddenSize, numHeads } = config;
    const memory = (): Sublayer => new RecurrentDeltaLayer(hiddenSize, numHeads, sublayerOptions(config, options));
    super(config, new SublayerDecoder(config, memory, options), options);
  }
}

export const recurrentDeltaFamily: ModelDefinition<RecurrentDeltaKeys, 'recurrent-delta'> = {
  modelType: 'recurrent_delta',
  name: 'recurrent-delta',
  architecture: 'RecurrentDeltaForCausalLM',
  description: 'the delta rule with keys, values and queries that see the last output (Irie et al. 2021)',
  keys: KEYS,
  configuration: sizesOf,
  model: RecurrentDeltaForCausalLM,
};

/** Keys of the Delta RNN. */
export interface DeltaRnnKeys extends FastWeightKeys<'delta_rnn'> {
  /** 2, the paper's, by default; 1 is the first published code. */
  version?: Count;
}

/** Language model of `DeltaRnnLayer`s; `model_type` 'delta_rnn', 4 layers of width 256 by default. */
export class DeltaRnnForCausalLM extends CausalLM<FastWeightConfiguration & { readonly version: 1 | 2 }> {
  constructor(input: EitherSpelling<DeltaRnnKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const reader = ConfigurationReader.of(input, deltaRnnFamily);
    const version = reader.size('version', 2, 2) as 1 | 2;
    const config = { ...readCommon(reader, deltaRnnFamily), version };
    const { hiddenSize, numHeads } = config;
    const own = { version, ...sublayerOptions(config, options) };
    super(config, new SublayerDecoder(config, () => new DeltaRnnLayer(hiddenSize, numHeads, own), options), options);
  }
}

export const deltaRnnFamily: ModelDefinition<DeltaRnnKeys, 'delta-rnn'> = {
  modelType: 'delta_rnn',
  name: 'delta-rnn',
  architecture: 'DeltaRnnForCausalLM',
  description: 'two delta memories, the second read with the last output (Irie et al. 2021)',
  keys: { ...KEYS, version: true },
  configuration: sizesOf,
  model: DeltaRnnForCausalLM,
};

/** Keys of the Delta LSTM. */
export interface DeltaLstmKeys extends FastWeightKeys<'delta_lstm'> {
  /** 4, the paper's, by default; 1 to 3 are earlier published code. */
  version?: Count;
}

/** Language model of `DeltaLstmLayer`s; `model_type` 'delta_lstm', 4 layers of width 256 by default. */
export class DeltaLstmForCausalLM extends CausalLM<FastWeightConfiguration & { readonly version: 1 | 2 | 3 | 4 }> {
  constructor(input: EitherSpelling<DeltaLstmKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const reader = ConfigurationReader.of(input, deltaLstmFamily);
    const version = reader.size('version', 4, 4) as 1 | 2 | 3 | 4;
    const config = { ...readCommon(reader, deltaLstmFamily), version };
    const { hiddenSize, numHeads } = config;
    const own = { version, ...sublayerOptions(config, options) };
    super(config, new SublayerDecoder(config, () => new DeltaLstmLayer(hiddenSize, numHeads, own), options), options);
  }
}

export const deltaLstmFamily: ModelDefinition<DeltaLstmKeys, 'delta-lstm'> = {
  modelType: 'delta_lstm',
  name: 'delta-lstm',
  architecture: 'DeltaLstmForCausalLM',
  description: 'an LSTM whose weight matrices are delta memories (Irie et al. 2021)',
  keys: { ...KEYS, version: true },
  configuration: sizesOf,
  model: DeltaLstmForCausalLM,
};
