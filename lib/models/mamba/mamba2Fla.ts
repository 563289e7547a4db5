// Mamba-2 in the layout of flash-linear-attention: the weights of transformers, other keys (spec 2.13.6).
import type { OptionNames } from '../../core';
import type { TensorOptions } from '../../ops';
import { ConfigurationReader, type JsonObject, type PublishedConfiguration } from '../common/configuration';
import { initializeResidual } from '../common/initialize';
import type { CommonKeys, Count, EitherSpelling, Flag, Name } from '../common/keys';
import type { ModelDefinition } from '../common/registry';
import { MambaLM } from './backbone';
import { MAMBA_FLA_KEYS, type MambaFlaConfiguration, type MambaFlaKeys, readMambaFla } from './flaKeys';
import { Mamba2Mixer, type Mamba2Shape } from './mamba2Mixer';

/** Mamba-2 and its log-linear form in flash-linear-attention; T is their `model_type`. */
export interface Mamba2FlaKeys<T extends string = 'mamba2'> extends MambaFlaKeys<T> {
  convKernel?: Count;
  useConvBias?: Flag;
  hiddenAct?: Name<'silu' | 'swish'>;
  /** Least and largest step in time. */
  dtLimit?: readonly number[] | null;
  /** Whether D has a weight for every value of a head, false by default. */
  DHasHdim?: Flag;
  /** Whether the output has a norm, true by default. */
  rmsnorm?: Flag;
  /** Whether its gate multiplies the norm, false by default: what is normed. */
  normBeforeGate?: Flag;
  /** Rates of decay of new weights, uniform between two numbers. */
  AInitRange?: readonly number[] | null;
  /** Changes nothing here: new convolutions are drawn as PyTorch does it. It is saved again. */
  convInit?: Count;
}

export const MAMBA2_FLA_KEYS: OptionNames<Omit<Mamba2FlaKeys, keyof CommonKeys>> = {
  ...MAMBA_FLA_KEYS,
  convKernel: true,
  useConvBias: 'flag',
  hiddenAct: true,
  dtLimit: true,
  DHasHdim: 'flag',
  rmsnorm: 'flag',
  normBeforeGate: 'flag',
  AInitRange: true,
  convInit: true,
};

/** What the models with a layer of Mamba-2 in flash-linear-attention read from their keys, with the defaults filled in. */
export interface Mamba2FlaConfiguration extends MambaFlaConfiguration {
  /** The same in every layer. */
  readonly mixer: Mamba2Shape;
}

/** Reads the keys that all of these models have. */
export function readMamba2Fla(reader: ConfigurationReader, family: ModelDefinition): Mamba2FlaConfiguration {
  const { config, sizes, bias } = readMambaFla(reader, family);
  reader.supported('hidden_act', 'silu', ['silu', 'swish']);
  const { normEps: eps } = config;
  const beforeGate = reader.flag('norm_before_gate', false);
  return {
    ...config,
    mixer: {
      ...sizes,
      convSize: reader.size('conv_kernel', 4),
      convBias: reader.flag('use_conv_bias', true),
      inputBias: bias,
      outputBias: bias,
      // Folders of the first versions have the key of transformers.
      timeStepLimit: reader.limits('dt_limit', reader.limits('time_step_limit', [0, Infinity])),
      skipPerValue: reader.flag('D_has_hdim', false),
      norm: reader.flag('rmsnorm', true) ? { eps, groups: sizes.numGroups, beforeGate } : null,
      newRates: reader.limits('A_init_range', [1, 16]),
    },
  };
}

/** Keys by which a folder is told from one of transformers, which has the same `model_type`. */
const OWN_KEYS = ['norm_eps', 'dt_limit', 'rmsnorm', 'fuse_norm', 'norm_before_gate'];

/**
 * Language model of `Mamba2Mixer` layers under the weight names of flash-linear-attention's Mamba2ForCausalLM, which are those of
 * transformers; `model_type` 'mamba2' with keys of its own. 48 layers of width 2048 with 64 heads of 64 values and 128 keys by
 * default.
 */
export class Mamba2FlaForCausalLM extends MambaLM<Mamba2FlaConfiguration, Mamba2Mixer> {
  constructor(input: EitherSpelling<Mamba2FlaKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readMamba2Fla(ConfigurationReader.of(input, mamba2FlaFamily), mamba2FlaFamily);
    super(config, () => new Mamba2Mixer(config.mixer, options), options);
    if (!config.rescaleResidual) return;
    for (const { out_proj } of this.mixers) initializeResidual(out_proj, config.numHiddenLayers);
  }
}

export const mamba2FlaFamily: ModelDefinition<Mamba2FlaKeys, 'mamba2-fla'> = {
  modelType: 'mamba2',
  claims: (config: JsonObject) => OWN_KEYS.some((key) => Object.hasOwn(config, key)),
  name: 'mamba2-fla',
  architecture: 'Mamba2ForCausalLM',
  description: 'Mamba-2 in the layout of flash-linear-attention',
  keys: MAMBA2_FLA_KEYS,
  configuration: ({ numHeads, headDim }) => ({ numHeads, headDim: 2 * headDim, stateSize: headDim, normEps: 1e-5 }),
  model: Mamba2FlaForCausalLM,
};
