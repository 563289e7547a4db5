// The plainest baseline: embedding, layers of Elman's network with PyTorch's parameter names, head.
import type { TensorOptions } from '../../ops';
import { rnn } from '../../rules';
import { CausalLM } from '../common/causalLM';
import { type Configuration, ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import type { CommonKeys, EitherSpelling, Name } from '../common/keys';
import type { ModelDefinition } from '../common/registry';
import { CellLayer, RECURRENT_SIZES, RecurrentBackbone } from './recurrent';

export interface RnnKeys extends CommonKeys<'rnn'> {
  hiddenAct?: Name<'tanh' | 'relu'>;
}

/** What `RnnForCausalLM` reads from its keys, with the defaults filled in. */
export interface RnnConfiguration extends Configuration {
  /** What the sum of input and hidden state goes through (`hidden_act`, 'tanh' by default). */
  readonly hiddenAct: 'tanh' | 'relu';
}

function readConfiguration(input: object): RnnConfiguration {
  const reader = ConfigurationReader.of(input, rnnFamily);
  const common = reader.common(rnnFamily, RECURRENT_SIZES);
  return { ...common, hiddenAct: reader.supported('hidden_act', 'tanh', ['tanh', 'relu']) };
}

/** Elman's recurrent network (1990) with PyTorch's weight names; 2 layers of width 256 by default. */
export class RnnForCausalLM extends CausalLM<RnnConfiguration> {
  constructor(input: EitherSpelling<RnnKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    const settings = { activation: config.hiddenAct, layers: 1 };
    const layer = (dim: number): CellLayer<'hidden'> => new CellLayer(dim, 1, ['hidden'], rnn, settings, options);
    super(config, new RecurrentBackbone(config, ['hidden'], layer, options), options);
  }
}

export const rnnFamily: ModelDefinition<RnnKeys, 'rnn'> = {
  modelType: 'rnn',
  name: 'rnn',
  architecture: 'RnnForCausalLM',
  description: 'layers of a plain recurrent network (Elman 1990)',
  keys: { hiddenAct: true },
  model: RnnForCausalLM,
};
