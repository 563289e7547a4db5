// Mamba-3 with one input and one output, in the layout of flash-linear-attention (Lahoti et al. 2026).
import type { TensorOptions } from '../../ops';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import { initializeResidual } from '../common/initialize';
import type { CommonKeys, Count, EitherSpelling, Flag } from '../common/keys';
import type { ModelDefinition } from '../common/registry';
import { type MambaConfiguration, MambaLM } from './backbone';
import { Mamba3Mixer, type Mamba3Shape } from './mamba3Mixer';

export interface Mamba3Keys extends CommonKeys<'mamba3'> {
  headDim?: Count;
  stateSize?: Count;
  /** The width inside a layer over hiddenSize, 2 by default. */
  expand?: Count;
  nGroups?: Count;
  /** Share of a key's coordinates that turn, 0.5 (the default) or 1. */
  ropeFraction?: Count;
  /** The least rate of decay, 0.0001 by default. */
  AFloor?: Count;
  /** Whether the output of each head has a norm, false by default. */
  isOutprojNorm?: Flag;
  useBias?: Flag;
  normEps?: Count;
  /** Steps in time of new weights, before `dtInitFloor`. */
  dtMin?: Count;
  dtMax?: Count;
  dtInitFloor?: Count;
  /** Whether new `out_proj` are divided by the root of the number of layers, true by default. */
  rescalePrenormResidual?: Flag;
  /** Expansion and headDim give it; another number is refused. */
  numHeads?: Count;
  /** false alone: several inputs and outputs are UNSUPPORTED. */
  isMimo?: false | null;
  /** Changes nothing here: it is the number of inputs and outputs where there are several. It is saved again. */
  mimoRank?: Count;
  /** Changes nothing here: sums of the residual have the dtype of the weights. It is saved again. */
  residualInFp32?: Flag;
  /** Changes nothing here: it sizes pieces of a kernel. It is saved again. */
  chunkSize?: Count;
  /** Changes nothing here: it chooses between kernels that compute the same. It is saved again. */
  fuseNorm?: Flag;
  /** Changes nothing here: it chooses a kernel of the loss. It is saved again. */
  fuseCrossEntropy?: Flag;
  /** Changes nothing here: logits are always returned. It is saved again. */
  fuseLinearCrossEntropy?: Flag;
  /** Changes nothing here: the loss has no such term. It is saved again. */
  useL2warp?: Flag;
}

/** What `Mamba3ForCausalLM` reads from its keys, with the defaults filled in. */
export interface Mamba3Configuration extends MambaConfiguration {
  /** The same in every layer. */
  readonly mixer: Mamba3Shape;
  /** Whether projections onto the residual stream start smaller in deeper models. */
  readonly rescaleResidual: boolean;
}

function readConfiguration(input: object): Mamba3Configuration {
  const reader = ConfigurationReader.of(input, mamba3Family);
  const common = reader.common(mamba3Family, { vocabSize: 32000, hiddenSize: 2048, numHiddenLayers: 48 });
  const { hiddenSize } = common;
  reader.supported('is_mimo', false, [false]);
  const inner = reader.scaled('expand', hiddenSize * reader.number('expand', 2));
  const headDim = reader.size('head_dim', 64);
  const numHeads = reader.divides(inner, 'head_dim', headDim);
  reader.equals('num_heads', reader.size('num_heads', numHeads), numHeads);
  const numGroups = reader.size('n_groups', 1);
  reader.divides(numHeads, 'n_groups', numGroups);
  const normEps = reader.number('norm_eps', 1e-5);
  const stateSize = reader.size('state_size', 128);
  const share = reader.supported('rope_fraction', 0.5, [0.5, 1]);
  return {
    ...common,
    normEps,
    rescaleResidual: reader.flag('rescale_prenorm_residual', true),
    mixer: {
      hiddenSize,
      numHeads,
      headDim,
      stateSize,
      numGroups,
      numAngles: Math.floor((stateSize * share) / 2),
      leastRate: reader.number('A_floor', 1e-4),
      normEps,
      outputNorm: reader.flag('is_outproj_norm', false),
      bias: reader.flag('use_bias', false),
      newTimeSteps: {
        low: reader.positive('dt_min', 1e-3),
        high: reader.positive('dt_max', 0.1),
        floor: reader.number('dt_init_floor', 1e-4),
      },
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
  description: 'Mamba-3: the trapezoidal rule, and keys that turn by learned angles (Lahoti et al. 2026)',
  keys: {
    headDim: true,
    stateSize: true,
    expand: true,
    nGroups: true,
    ropeFraction: true,
    AFloor: true,
    isOutprojNorm: 'flag',
    useBias: 'flag',
    normEps: true,
    dtMin: true,
    dtMax: true,
    dtInitFloor: true,
    rescalePrenormResidual: 'flag',
    numHeads: true,
    isMimo: 'flag',
    mimoRank: true,
    residualInFp32: 'flag',
    chunkSize: true,
    fuseNorm: 'flag',
    fuseCrossEntropy: 'flag',
    fuseLinearCrossEntropy: 'flag',
    useL2warp: 'flag',
  },
  configuration: ({ numHeads, headDim }) => ({ numHeads, headDim: 2 * headDim, stateSize: headDim }),
  model: Mamba3ForCausalLM,
};
