// Mamba-3, of one input and output a head or several, in the layout of flash-linear-attention (Lahoti et al. 2026).
import type { TensorOptions } from '../../ops';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import { initializeResidual } from '../common/initialize';
import type { Count, EitherSpelling, Flag } from '../common/keys';
import type { ModelDefinition } from '../common/registry';
import { MambaLM } from './backbone';
import { MAMBA_FLA_KEYS, type MambaFlaConfiguration, type MambaFlaKeys, readMambaFla } from './flaKeys';
import { Mamba3Mixer, type Mamba3Shape } from './mamba3Mixer';

export interface Mamba3Keys extends MambaFlaKeys<'mamba3'> {
  /** Share of a key's coordinates that turn, 0.5 (the default) or 1. */
  ropeFraction?: Count;
  /** The least rate of decay, 0.0001 by default. */
  AFloor?: Count;
  /** Whether the output of each head has a norm, false by default. */
  isOutprojNorm?: Flag;
  /** Whether a head has several inputs and outputs, false by default; stateSize is even then. */
  isMimo?: Flag;
  /** How many with `isMimo`, 4 by default; without it changes nothing. */
  mimoRank?: Count;
}

/** What `Mamba3ForCausalLM` reads from its keys, with the defaults filled in. */
export interface Mamba3Configuration extends MambaFlaConfiguration {
  /** The same in every layer. */
  readonly mixer: Mamba3Shape;
}

function readConfiguration(input: object): Mamba3Configuration {
  const reader = ConfigurationReader.of(input, mamba3Family);
  const { config, sizes, bias } = readMambaFla(reader, mamba3Family);
  const share = reader.supported('rope_fraction', 0.5, [0.5, 1]);
  return {
    ...config,
    mixer: {
      ...sizes,
      numAngles: Math.floor((sizes.stateSize * share) / 2),
      mimoRank: reader.flag('is_mimo', false) ? reader.size('mimo_rank', 4) : null,
      leastRate: reader.number('A_floor', 1e-4),
      normEps: config.normEps,
      outputNorm: reader.flag('is_outproj_norm', false),
      bias,
    },
  };
}

/**
 * Language model of `Mamba3Mixer` layers under the weight names of flash-linear-attention's Mamba3ForCausalLM, `model_type`
 * 'mamba3'; 48 layers of width 2048 with 64 heads of 64 values and 128 keys by default.
 */
export class Mamba3ForCausalLM extends MambaLM<Mamba3Configuration, Mamba3Mixer> {
  constructor(input: EitherSpelling<Mamba3Keys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    super(config, () => new Mamba3Mixer(config.mixer, options), options);
    if (!config.rescaleResidual) return;
    for (const { out_proj } of this.mixers) initializeResidual(out_proj, config.numHiddenLayers);
  }
}

export const mamba3Family: ModelDefinition<Mamba3Keys, 'mamba3'> = {
  modelType: 'mamba3',
  name: 'mamba3',
  architecture: 'Mamba3ForCausalLM',
  description: 'Mamba-3: trapezoidal writes, keys that turn, one input and output or more (Lahoti et al. 2026)',
  keys: {
    ...MAMBA_FLA_KEYS,
    ropeFraction: true,
    AFloor: true,
    isOutprojNorm: 'flag',
    isMimo: 'flag',
    mimoRank: true,
  },
  configuration: ({ numHeads, headDim }) => ({ numHeads, headDim: 2 * headDim, stateSize: headDim }),
  model: Mamba3ForCausalLM,
};
