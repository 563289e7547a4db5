// The LSTM baseline: embedding, layers of LSTM with PyTorch's parameter names, head.
import type { TensorOptions } from '../../ops';
import { lstm } from '../../rules';
import { CausalLM } from '../common/causalLM';
import { type Configuration, ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import type { CommonKeys, EitherSpelling } from '../common/keys';
import type { ModelDefinition } from '../common/registry';
import { CellLayer, RECURRENT_SIZES, RecurrentBackbone } from './recurrent';

export type LstmKeys = CommonKeys<'lstm'>;

function readConfiguration(input: object): Configuration {
  const reader = ConfigurationReader.of(input, lstmFamily);
  return reader.common(lstmFamily, RECURRENT_SIZES);
}

/**
 * The recurrent baseline (Hochreiter and Schmidhuber 1997) with PyTorch's weight names and order of gates; 2 layers of
 * width 256 by default.
 */
export class LstmForCausalLM extends CausalLM {
  constructor(input: EitherSpelling<LstmKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    const layer = (dim: number): CellLayer<'hidden' | 'cell'> =>
      new CellLayer(dim, 4, ['hidden', 'cell'], lstm, { layers: 1 }, options);
    super(config, new RecurrentBackbone(config, ['hidden', 'cell'], layer, options), options);
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
