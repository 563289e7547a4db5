// Samba in the layout of flash-linear-attention: Mamba and attention to a window in one stack of layers (Ren et al. 2024).
import { RMSNorm, SwiGLU } from '../../nn';
import type { TensorOptions } from '../../ops';
import { Attention, type AttentionShape } from '../common/attention';
import { type BlockParts, PreNormBlock } from '../common/block';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import type { AttentionKeys, CommonKeys, Count, EitherSpelling, Flag, Name } from '../common/keys';
import type { Recurrent } from '../common/mixer';
import type { ModelDefinition } from '../common/registry';
import { ratedIntermediate, readAttention, roundUp } from '../fla/skeleton';
import { BackboneLM, type MambaConfiguration, MambaDecoder } from './backbone';
import { MAMBA_LAYER_KEYS, type MambaLayer, type MambaLayerKeys, readMambaLayer } from './mamba';
import { MambaMixer } from './mambaMixer';

export interface SambaKeys extends CommonKeys<'samba'>, MambaLayerKeys {
  hiddenAct?: Name<'swish' | 'silu'>;
  /** Added to the mean square in every RMSNorm, 1e-5 by default. */
  normEps?: Count;
  /**
   * Which layers, counted from 0, are softmax attention, and its heads; a list where they differ, null for none. By default
   * every second one up to layer 17, with 18 heads that see 2048 tokens.
   */
  attn?: EitherSpelling<AttentionKeys> | readonly EitherSpelling<AttentionKeys>[] | null;
  /** The feed-forward is 2/3 of it times the hidden size wide, rounded up to a multiple of 256; 4 by default. */
  hiddenRatio?: Count;
  /** false alone: the published program fails with true, so that it is UNSUPPORTED. */
  rescalePrenormResidual?: false | null;
  /** null alone: a size, whatever it is, is refused as UNSUPPORTED. */
  attnresBlockSize?: null;
  /** Changes nothing here: it never reaches the published layers, whose convolutions have a bias. It is saved again. */
  useConvBias?: Flag;
  /** Changes nothing here: it chooses between kernels that compute the same. It is saved again. */
  fuseNorm?: Flag;
  /** Changes nothing here: the feed-forward is fused wherever it can be. It is saved again. */
  fuseSwiglu?: Flag;
  /** Changes nothing here: it chooses a kernel of the loss. It is saved again. */
  fuseCrossEntropy?: Flag;
  /** Changes nothing here: logits are always returned. It is saved again. */
  fuseLinearCrossEntropy?: Flag;
  /** Changes nothing here: the loss has no such term. It is saved again. */
  useL2warp?: Flag;
}

/** What `SambaForCausalLM` reads from its keys, with the defaults filled in. */
export interface SambaConfiguration extends MambaConfiguration, MambaLayer {
  /** Softmax attention in place of Mamba, by layer (`attn`). */
  readonly attention: ReadonlyMap<number, AttentionShape>;
  /** Rows of `gate_proj` and `up_proj` in the SwiGLU of each block, from `hidden_ratio` (4 by default). */
  readonly feedForward: number;
}

/** What the published program takes for `attn` where it is left out, as far as there are layers. */
const DEFAULT_ATTENTION = { numHeads: 18, windowSize: 2048 };
const LAST_DEFAULT_LAYER = 17;

/** Of so many layers every second one. */
function everySecond(layers: number): number[] {
  return Array.from({ length: Math.floor(layers / 2) }, (_, i) => 2 * i + 1);
}

function readConfiguration(input: object): SambaConfiguration {
  const reader = ConfigurationReader.of(input, sambaFamily);
  const common = reader.common(sambaFamily, { vocabSize: 32000, hiddenSize: 2304, numHiddenLayers: 18 });
  const { hiddenSize, numHiddenLayers } = common;
  reader.supported('hidden_act', 'swish', ['swish', 'silu']);
  reader.supported('rescale_prenorm_residual', false, [false]);
  reader.supported('attnres_block_size', null, [null]);
  const layers = everySecond(Math.min(numHiddenLayers, LAST_DEFAULT_LAYER + 1));
  const usual = { attn: { ...DEFAULT_ATTENTION, layers } };
  const given = Object.hasOwn(reader.source, 'attn');
  return {
    ...common,
    ...readMambaLayer(reader, hiddenSize, true),
    normEps: reader.number('norm_eps', 1e-5),
    attention: readAttention(given ? reader : ConfigurationReader.of(usual, sambaFamily), common),
    feedForward: ratedIntermediate(reader, hiddenSize, reader.positive('hidden_ratio', 4)),
  };
}

/** Mamba or softmax attention, then a SwiGLU, each behind a norm and with its residual. */
class SambaBlock extends PreNormBlock {
  mixer_norm: RMSNorm;
  mixer: Recurrent;
  mlp_norm: RMSNorm;
  mlp: SwiGLU;

  constructor(
    { hiddenSize, normEps, feedForward, mixer, attention }: SambaConfiguration,
    layer: number,
    options: TensorOptions,
  ) {
    super();
    const shape = attention.get(layer);
    this.mixer_norm = new RMSNorm(hiddenSize, { eps: normEps, ...options });
    this.mixer = shape ? new Attention(shape, options) : new MambaMixer(mixer, options);
    this.mlp_norm = new RMSNorm(hiddenSize, { eps: normEps, ...options });
    this.mlp = new SwiGLU(hiddenSize, feedForward, options);
  }

  protected get parts(): BlockParts {
    return { mixerNorm: this.mixer_norm, mixer: this.mixer, feedForwardNorm: this.mlp_norm, feedForward: this.mlp };
  }
}

/**
 * Language model of layers of `MambaMixer` and `Attention`, each with a feed-forward, under the weight names of
 * flash-linear-attention's SambaForCausalLM, `model_type` 'samba'; 18 layers of width 2304 by default, every second one
 * attention. The states of those grow with the text, up to the window. It has no key for the width of its feed-forward, only
 * `hiddenRatio`: `createModel` rounds `intermediateSize` up to a multiple of 256.
 */
export class SambaForCausalLM extends BackboneLM<SambaConfiguration> {
  declare model: MambaDecoder<SambaBlock>;

  constructor(input: EitherSpelling<SambaKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    super(config, new MambaDecoder(config, (layer) => new SambaBlock(config, layer, options), options), options);
    for (const { mixer } of this.model.layers)
      if (mixer instanceof MambaMixer) mixer.initializeTimeSteps(config.timeSteps);
  }
}

export const sambaFamily: ModelDefinition<SambaKeys, 'samba'> = {
  modelType: 'samba',
  name: 'samba',
  architecture: 'SambaForCausalLM',
  description: 'Samba: layers of Mamba and of attention to a window by turns (Ren et al. 2024)',
  heads: true,
  keys: {
    ...MAMBA_LAYER_KEYS,
    hiddenAct: true,
    normEps: true,
    attn: true,
    hiddenRatio: true,
    rescalePrenormResidual: 'flag',
    attnresBlockSize: true,
    useConvBias: 'flag',
    fuseNorm: 'flag',
    fuseSwiglu: 'flag',
    fuseCrossEntropy: 'flag',
    fuseLinearCrossEntropy: 'flag',
    useL2warp: 'flag',
  },
  configuration: ({ numHeads, numLayers, hiddenSize, intermediateSize }) => ({
    attn: { layers: everySecond(numLayers), numHeads, windowSize: 2048 },
    ...(intermediateSize !== undefined && { hiddenRatio: (1.5 * roundUp(intermediateSize)) / hiddenSize }),
  }),
  model: SambaForCausalLM,
};
