// What the families of Mamba in flash-linear-attention have in common: keys of sizes, of new weights, and those of its kernels.
import type { OptionNames } from '../../core';
import type { ConfigurationReader } from '../common/configuration';
import type { TimeStepRange } from '../common/initialize';
import type { CommonKeys, Count, Flag } from '../common/keys';
import type { ModelDefinition } from '../common/registry';
import { type MambaConfiguration, readTimeSteps } from './backbone';

/** Keys of these families; T is their `model_type`. */
export interface MambaFlaKeys<T extends string = string> extends CommonKeys<T> {
  headDim?: Count;
  stateSize?: Count;
  /** The width inside a layer over hiddenSize, 2 by default. */
  expand?: Count;
  nGroups?: Count;
  useBias?: Flag;
  normEps?: Count;
  /** Expansion and headDim give it; another number is refused. */
  numHeads?: Count;
  /** Steps in time of new weights, before `dtInitFloor`. */
  dtMin?: Count;
  dtMax?: Count;
  dtInitFloor?: Count;
  /** Whether new `out_proj` are divided by the root of the number of layers, true by default. */
  rescalePrenormResidual?: Flag;
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

export const MAMBA_FLA_KEYS: OptionNames<Omit<MambaFlaKeys, keyof CommonKeys>> = {
  headDim: true,
  stateSize: true,
  expand: true,
  nGroups: true,
  useBias: 'flag',
  normEps: true,
  numHeads: true,
  dtMin: true,
  dtMax: true,
  dtInitFloor: true,
  rescalePrenormResidual: 'flag',
  residualInFp32: 'flag',
  chunkSize: true,
  fuseNorm: 'flag',
  fuseCrossEntropy: 'flag',
  fuseLinearCrossEntropy: 'flag',
  useL2warp: 'flag',
};

/** What these families read of their keys, with the defaults filled in. */
export interface MambaFlaConfiguration extends MambaConfiguration {
  /** Whether projections onto the residual stream start smaller in deeper models. */
  readonly rescaleResidual: boolean;
}

/** What their layers have in common. */
interface Sizes {
  readonly hiddenSize: number;
  readonly numHeads: number;
  readonly headDim: number;
  readonly stateSize: number;
  readonly numGroups: number;
  readonly newTimeSteps: TimeStepRange;
}

/** Reads the keys that all of them have; `bias` is that of the projections into the layers and out of them. */
export function readMambaFla(
  reader: ConfigurationReader,
  family: ModelDefinition,
): { config: MambaFlaConfiguration; sizes: Sizes; bias: boolean } {
  const common = reader.common(family, { vocabSize: 32000, hiddenSize: 2048, numHiddenLayers: 48 });
  const { hiddenSize } = common;
  const inner = reader.scaled('expand', hiddenSize * reader.expansion('expand', 2));
  const headDim = reader.size('head_dim', 64);
  const numHeads = reader.divides(inner, 'head_dim', headDim);
  reader.equals('num_heads', reader.size('num_heads', numHeads), numHeads);
  const numGroups = reader.size('n_groups', 1);
  reader.divides(numHeads, 'n_groups', numGroups);
  return {
    config: {
      ...common,
      normEps: reader.number('norm_eps', 1e-5),
      rescaleResidual: reader.flag('rescale_prenorm_residual', true),
    },
    sizes: {
      hiddenSize,
      numHeads,
      headDim,
      stateSize: reader.size('state_size', 128),
      numGroups,
      newTimeSteps: readTimeSteps(reader, 'dt_min', 'dt_max', 'dt_init_floor'),
    },
    bias: reader.flag('use_bias', false),
  };
}
