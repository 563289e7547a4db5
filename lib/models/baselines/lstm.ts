// The LSTM baseline: embedding, layers of LSTM with PyTorch's parameter names, head.
import { FastWeightsError, type Tensor } from '../../core';
import { checkpoint, gradEnabled } from '../../autograd';
import { Embedding, Module, parameter } from '../../nn';
import { lstm, type LstmLayer, rand, type TensorOptions, zeros } from '../../ops';
import { Backbone } from '../common/block';
import { CausalLM } from '../common/causalLM';
import { type Configuration, ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import type { CommonKeys, EitherSpelling } from '../common/keys';
import type { ModelDefinition } from '../common/registry';
import { checkSequence, type SequenceOptions, type SequenceResult, stateDType } from '../common/mixer';

export type LstmKeys = CommonKeys<'lstm'>;

function readConfiguration(input: object): Configuration {
  const reader = ConfigurationReader.of(input, lstmFamily);
  return reader.common(lstmFamily, { vocabSize: 32000, hiddenSize: 256, numHiddenLayers: 2 });
}

/** Hidden and cell vectors of every layer [layers, B, D]. */
type LstmMemory = { hidden: Tensor; cell: Tensor };

/** One layer; weights uniform in +-1/sqrt(D) as in PyTorch, gates in the order input, forget, cell, output. */
class Layer extends Module {
  weight_ih: Tensor;
  weight_hh: Tensor;
  bias_ih: Tensor;
  bias_hh: Tensor;

  constructor(dim: number, options: TensorOptions) {
    super();
    const bound = dim ** -0.5;
    const draw = (shape: number[]): Tensor => parameter(rand(shape, { ...options, low: -bound, high: bound }));
    this.weight_ih = draw([4 * dim, dim]);
    this.weight_hh = draw([4 * dim, dim]);
    this.bias_ih = draw([4 * dim]);
    this.bias_hh = draw([4 * dim]);
  }

  get weights(): LstmLayer {
    return { weightIh: this.weight_ih, weightHh: this.weight_hh, biasIh: this.bias_ih, biasHh: this.bias_hh };
  }
}

class LstmBackbone extends Backbone {
  embeddings: Embedding;
  layers: Layer[];

  constructor(
    readonly config: Configuration,
    options: TensorOptions,
  ) {
    super();
    const { vocabSize, hiddenSize, numHiddenLayers } = config;
    this.embeddings = new Embedding(vocabSize, hiddenSize, options);
    this.layers = Array.from({ length: numHiddenLayers }, () => new Layer(hiddenSize, options));
  }

  get tokens(): Embedding {
    return this.embeddings;
  }

  forward(ids: Tensor, options: SequenceOptions = {}): SequenceResult {
    checkSequence('forward', options);
    if (options.cuSeqlens) {
      throw new FastWeightsError('UNSUPPORTED', 'lstm: packed sequences are not supported', { argument: 'cuSeqlens' });
    }
    const x = this.embeddings.forward(ids);
    const initial = (options.state ?? this.initialState(ids.shape[0])) as LstmMemory;
    const run = (at: Tensor, { hidden, cell }: LstmMemory): [Tensor, Tensor, Tensor] => {
      const weights = this.layers.map((layer) => layer.weights);
      const { output, finalState } = lstm(at, weights, { hidden, cell });
      return [output, finalState.hidden, finalState.cell];
    };
    const kept = !this.gradientCheckpointing || !gradEnabled();
    const [output, hidden, cell] = kept
      ? run(x, initial)
      : checkpoint((at, h, c) => run(at, { hidden: h, cell: c }), x, initial.hidden, initial.cell);
    return options.outputState ? { output, state: { hidden, cell } } : { output };
  }

  step(ids: Tensor, state: LstmMemory): Tensor {
    const { output, state: next } = this.forward(ids.unsqueeze(1), { state, outputState: true });
    const { hidden, cell } = next as LstmMemory;
    state.hidden.copy_(hidden);
    state.cell.copy_(cell);
    return output.squeeze(1);
  }

  initialState(batch: number): LstmMemory {
    const { weight } = this.embeddings;
    const { hiddenSize, numHiddenLayers } = this.config;
    const empty = (): Tensor =>
      zeros([numHiddenLayers, batch, hiddenSize], { device: weight.device, dtype: stateDType(weight) });
    return { hidden: empty(), cell: empty() };
  }
}

/**
 * The recurrent baseline (Hochreiter and Schmidhuber 1997) with PyTorch's weight names and order of gates; 2 layers of
 * width 256 by default. Packed sequences and batches with padding are UNSUPPORTED.
 */
export class LstmForCausalLM extends CausalLM {
  constructor(input: EitherSpelling<LstmKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    super(config, new LstmBackbone(config, options), options);
  }
}

export const lstmFamily: ModelDefinition<LstmKeys, 'lstm'> = {
  modelType: 'lstm',
  name: 'lstm',
  architecture: 'LstmForCausalLM',
  description: 'layers of LSTM (Hochreiter and Schmidhuber 1997)',
  keys: {},
  model: LstmForCausalLM,
};
