// Fast Weight Memory as a language model: embedding, LSTMs with a memory one upon the other, head (Schlag, Munkhdalai,
// Schmidhuber 2021; spec 2.8).
import type { Tensor } from '../../core';
import { type Stages, type State } from '../../inference';
import { drawsWeights, Embedding } from '../../nn';
import type { TensorOptions } from '../../ops';
import { Decoder, Layer } from '../common/block';
import { CausalLM } from '../common/causalLM';
import { type Configuration, ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import type { CommonKeys, Count, EitherSpelling } from '../common/keys';
import { partOf, type SequenceOptions, type SequenceResult } from '../common/mixer';
import type { ModelDefinition } from '../common/registry';
import { FastWeightMemoryCell, type FastWeightMemoryState } from './fastWeightMemory';

/** Keys of Fast Weight Memory. */
export interface FastWeightMemoryKeys extends CommonKeys<'fast_weight_memory'> {
  /** Width of queries and of what is found, 32 by default. */
  memorySize?: Count;
  /** Width of relations; memorySize by default. */
  relationSize?: Count;
  /** Reads in a row, 3 by default. */
  hops?: Count;
  /** Multiplies every write: 1 / memorySize, as published for catbAbI, by default; 1 is the published PTB model's. */
  writeScale?: Count;
  /** The largest norm of the memory, 1 by default. */
  normCap?: Count;
  /** What of a read goes through tanh: 'relations', 'all' or 'none', that of catbAbI, PTB and meta-RL; 'relations' by default. */
  readTanh?: 'relations' | 'all' | 'none';
}

/** What `FastWeightMemoryForCausalLM` reads from its keys. */
export interface FastWeightMemoryConfiguration extends Configuration {
  /** Width of queries and of what is found (`memory_size`, 32 by default). */
  readonly memorySize: number;
  /** Width of relations (`relation_size`, `memory_size` by default). */
  readonly relationSize: number;
  /** Reads in a row (`hops`, 3 by default). */
  readonly hops: number;
  /** Multiplies every write (`write_scale`, 1 / `memory_size` by default). */
  readonly writeScale: number;
  /** The largest norm of the memory (`norm_cap`, 1 by default). */
  readonly normCap: number;
  /** What of a read goes through tanh (`read_tanh`, 'relations' by default). */
  readonly readTanh: 'relations' | 'all' | 'none';
}

class MemoryBlock extends Layer {
  constructor(readonly cell: FastWeightMemoryCell) {
    super();
  }

  *stages(x: Tensor, options: SequenceOptions): Stages<SequenceResult> {
    return partOf(() => this.cell.forward(x, options as SequenceOptions<FastWeightMemoryState>), options);
  }

  *stepStages(x: Tensor, state: State): Stages<Tensor> {
    return this.cell.step(x, state as FastWeightMemoryState);
  }

  initialState(batch: number): State {
    return this.cell.initialState(batch);
  }
}

class MemoryDecoder extends Decoder {
  embeddings: Embedding;
  layers: MemoryBlock[];
  readonly norm = null;

  constructor(config: FastWeightMemoryConfiguration, options: TensorOptions) {
    super();
    const { vocabSize, hiddenSize, numHiddenLayers, memorySize, relationSize, hops, writeScale, normCap, readTanh } =
      config;
    const own = { memorySize, relationSize, hops, writeScale, normCap, readTanh, ...options };
    this.embeddings = new Embedding(vocabSize, hiddenSize, options);
    this.layers = Array.from(
      { length: numHiddenLayers },
      () => new MemoryBlock(new FastWeightMemoryCell(hiddenSize, hiddenSize, own)),
    );
  }

  get tokens(): Embedding {
    return this.embeddings;
  }

  override get stageCount(): number {
    return this.layers.length + 1;
  }
}

function readConfiguration(input: object): FastWeightMemoryConfiguration {
  const reader = ConfigurationReader.of(input, fastWeightMemoryFamily);
  const common = reader.common(fastWeightMemoryFamily, { vocabSize: 32000, hiddenSize: 256, numHiddenLayers: 1 });
  const memorySize = reader.size('memory_size', 32);
  return {
    ...common,
    memorySize,
    relationSize: reader.size('relation_size', memorySize),
    hops: reader.size('hops', 3),
    writeScale: reader.number('write_scale', 1 / memorySize),
    normCap: reader.number('norm_cap', 1),
    readTanh: reader.choice('read_tanh', 'relations', ['relations', 'all', 'none']),
  };
}

/**
 * Language model of `FastWeightMemoryCell`s, an LSTM each with a memory of third order that is read in hops; `model_type`
 * 'fast_weight_memory', one layer of width 256 with a memory of 32 by default, the sizes of the published catbAbI model;
 * `createModel` makes the memory an eighth as wide as the layer, 4 at least and 32 at most. The cells are drawn as published, embedding and
 * head N(0, initializer_range).
 */
export class FastWeightMemoryForCausalLM extends CausalLM<FastWeightMemoryConfiguration> {
  constructor(input: EitherSpelling<FastWeightMemoryKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    const decoder = new MemoryDecoder(config, options);
    super(config, decoder, options);
    if (drawsWeights()) for (const { cell } of decoder.layers) cell.draw();
  }
}

export const fastWeightMemoryFamily: ModelDefinition<FastWeightMemoryKeys, 'fast-weight-memory'> = {
  modelType: 'fast_weight_memory',
  name: 'fast-weight-memory',
  architecture: 'FastWeightMemoryForCausalLM',
  description: 'LSTMs with a third-order memory that is read in hops (Schlag et al. 2021)',
  keys: { memorySize: true, relationSize: true, hops: true, writeScale: true, normCap: true, readTanh: true },
  // A layer norm of a single number has none left.
  configuration: ({ hiddenSize }) => ({ memorySize: Math.min(32, Math.max(4, Math.ceil(hiddenSize / 8))) }),
  model: FastWeightMemoryForCausalLM,
};
