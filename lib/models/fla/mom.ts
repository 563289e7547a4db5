// A mixture of memories as a language model, in the layout of flash-linear-attention (Du et al. 2025).
import type { TensorOptions } from '../../ops';
import { CausalLM } from '../common/causalLM';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import type { Count, EitherSpelling, Flag } from '../common/keys';
import type { ModelDefinition } from '../common/registry';
import { readExperts } from '../common/routing';
import { CONVOLUTION_KEYS, type ConvolutionKeys, FLA_KEYS, type FlaKeys } from './keys';
import { MixtureOfMemories } from './mixtureOfMemories';
import { type FlaConfiguration, FlaDecoder, readFla } from './skeleton';

export interface MomKeys extends FlaKeys<'mom'>, ConvolutionKeys {
  /** 4 by default. */
  numHeads?: Count;
  /** Width of a head's keys, 256 by default. */
  headDim?: Count;
  /** Width of a head's values over that of its keys, 1 by default. */
  expandV?: Count;
  /** true by default. */
  useOutputGate?: Flag;
  /** true alone: the published program refuses to go without, so that false is UNSUPPORTED. */
  useShortConv?: true | null;
  /** Memories of a layer, 4 by default. */
  numMemories?: Count;
  /** How many of them a token goes to, 2 by default. */
  topk?: Count;
  /** Whether there is a memory for all tokens, too, true by default. */
  sharedMem?: Flag;
  /** Whether all memories have the same projections to keys, values, strengths and decays, false by default. */
  singleKvProj?: Flag;
  /** What a memory is: 'gated_deltanet' alone, as in the published program. */
  momBackend?: 'gated_deltanet' | null;
  /** null alone: the published program cannot run other layers, so that anything else is UNSUPPORTED. */
  attn?: null;
  /** Changes nothing here, nor in the published program: no memory refuses a token. It is saved again. */
  capacity?: Count;
  /** Changes nothing here: the loss has no term for the balance of memories. It is saved again. */
  useLayerWiseBalance?: Flag;
  /** Changes nothing here: the loss has no term for the balance of memories. It is saved again. */
  auxLossScale?: Count;
}

/** What `MomForCausalLM` reads from its keys, with the defaults filled in. */
export interface MomConfiguration extends FlaConfiguration {
  /** Heads of each memory (`num_heads`, 4 by default). */
  readonly numHeads: number;
  /** Width of a head's keys (`head_dim`, 256 by default). */
  readonly keyDim: number;
  /** Width of a head's values, keyDim times `expand_v` (1 by default). */
  readonly valueDim: number;
  /** Whether the output is gated (`use_output_gate`, true by default). */
  readonly outputGate: boolean;
  /** Tokens of a memory that the convolutions of q, k and v see (`conv_size`, 4 by default). */
  readonly convSize: number;
  /** Memories of a layer (`num_memories`, 4 by default). */
  readonly numMemories: number;
  /** How many of them a token goes to (`topk`, 2 by default). */
  readonly topK: number;
  /** Whether there is a memory for all tokens, too (`shared_mem`, true by default). */
  readonly sharedMemory: boolean;
  /** Whether all memories have the same projections (`single_kv_proj`, false by default). */
  readonly singleProjection: boolean;
}

function readConfiguration(input: object): MomConfiguration {
  const reader = ConfigurationReader.of(input, momFamily);
  reader.supported('attn', null, [null]);
  reader.supported('use_short_conv', true, [true]);
  reader.supported('mom_backend', 'gated_deltanet', ['gated_deltanet']);
  const base = readFla(reader, momFamily);
  const keys = { count: 'num_memories', perToken: 'topk' };
  const { numExperts, perToken } = readExperts(reader, keys, { count: 4, perToken: 2 });
  const keyDim = reader.size('head_dim', 256);
  return {
    ...base,
    numHeads: reader.size('num_heads', 4),
    keyDim,
    valueDim: reader.scaled('expand_v', keyDim * reader.number('expand_v', 1)),
    outputGate: reader.flag('use_output_gate', true),
    convSize: reader.size('conv_size', 4),
    numMemories: numExperts,
    topK: perToken,
    sharedMemory: reader.flag('shared_mem', true),
    singleProjection: reader.flag('single_kv_proj', false),
  };
}

/**
 * Language model of `MixtureOfMemories` layers under the weight names of flash-linear-attention's MomForCausalLM, `model_type`
 * 'mom'; 24 layers of width 2048 with 4 memories of 4 heads of 256 by default, of which a token goes to 2, and one for all. The
 * published program, while it trains, lets convolutions run on from one memory's tokens into the next one's; here they never do.
 */
export class MomForCausalLM extends CausalLM<MomConfiguration> {
  constructor(input: EitherSpelling<MomKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    const { hiddenSize, numHeads, keyDim, valueDim, convSize, normEps } = config;
    const { numMemories, topK, sharedMemory, singleProjection, outputGate } = config;
    const own = {
      numMemories,
      topK,
      sharedMemory,
      singleProjection,
      headDim: keyDim,
      valueDim,
      convSize,
      outputGate,
      normEps,
      ...options,
    };
    super(config, new FlaDecoder(config, () => new MixtureOfMemories(hiddenSize, numHeads, own), options), options);
  }
}

export const momFamily: ModelDefinition<MomKeys, 'mom'> = {
  modelType: 'mom',
  name: 'mom',
  architecture: 'MomForCausalLM',
  description: 'MoM: each token goes to some of many gated delta memories, and to one for all (Du et al. 2025)',
  keys: {
    ...FLA_KEYS,
    ...CONVOLUTION_KEYS,
    numHeads: true,
    headDim: true,
    expandV: true,
    useOutputGate: 'flag',
    numMemories: true,
    topk: true,
    sharedMem: 'flag',
    singleKvProj: 'flag',
    momBackend: true,
    capacity: true,
    useLayerWiseBalance: 'flag',
    auxLossScale: true,
  },
  configuration: ({ numHeads, headDim, feedForward }) => ({ numHeads, headDim, intermediateSize: feedForward }),
  model: MomForCausalLM,
};
