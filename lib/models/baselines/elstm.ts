// e-LSTM as a language model: embedding, layers under their authors' names, head.
import { ELSTM } from '../../nn';
import type { TensorOptions } from '../../ops';
import { CausalLM } from '../common/causalLM';
import { type Configuration, ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import type { CommonKeys, EitherSpelling } from '../common/keys';
import type { ModelDefinition } from '../common/registry';
import { RECURRENT_SIZES, RecurrentBackbone } from './recurrent';

export type ElstmKeys = CommonKeys<'elstm'>;

function readConfiguration(input: object): Configuration {
  const reader = ConfigurationReader.of(input, elstmFamily);
  return reader.common(elstmFamily, RECURRENT_SIZES);
}

/**
 * LSTM whose gates see the cell through a vector (Irie, Gopalakrishnan, Schmidhuber 2024), layer upon layer; 2 of width 256
 * by default.
 */
export class ElstmForCausalLM extends CausalLM {
  constructor(input: EitherSpelling<ElstmKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    const layer = (dim: number): ELSTM => new ELSTM(dim, dim, options);
    super(config, new RecurrentBackbone(config, ['cell'], layer, options), options);
  }
}

export const elstmFamily: ModelDefinition<ElstmKeys, 'elstm'> = {
  modelType: 'elstm',
  name: 'elstm',
  architecture: 'ElstmForCausalLM',
  description: 'layers of e-LSTM, which sees its cell through a vector (Irie et al. 2024)',
  keys: {},
  model: ElstmForCausalLM,
};
