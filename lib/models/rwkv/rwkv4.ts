// RWKV-4 in the layout of transformers (Peng et al. 2023; spec 2.13.20).
import type { OptionNames, Tensor } from '../../core';
import { drawsWeights, Embedding, LayerNorm, Linear } from '../../nn';
import { layerNorm, type TensorOptions } from '../../ops';
import { Decoder } from '../common/block';
import { CausalLM, type WeightNames } from '../common/causalLM';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import type { CommonKeys, Count, EitherSpelling } from '../common/keys';
import type { ModelDefinition } from '../common/registry';
import { RwkvBlock, type RwkvParts } from './block';
import { likeOrthogonal, uniform } from './parts';
import { RWKV4Attention, type Rwkv4Configuration, RWKV4FeedForward } from './rwkv4Layers';

export interface Rwkv4Keys extends CommonKeys<'rwkv'> {
  /** Channels of the average, hiddenSize by default. */
  attentionHiddenSize?: Count;
  /** Width of the feed-forward, 4 * hiddenSize by default. */
  intermediateSize?: Count;
  /** Added to the variance in the LayerNorms of the blocks, 1e-5 by default. */
  layerNormEpsilon?: Count;
  /**
   * In evaluation mode the published program halves what passes between the blocks every so many of them, 6 by default, 0 for
   * never. All that sees it are the LayerNorms, whose epsilon counts four times as much from then on.
   */
  rescaleEvery?: Count;
  /** Changes nothing here: no length of a text is refused. It is saved again. */
  contextLength?: Count;
}

const KEYS: OptionNames<Omit<Rwkv4Keys, keyof CommonKeys>> = {
  attentionHiddenSize: true,
  intermediateSize: true,
  layerNormEpsilon: true,
  rescaleEvery: true,
  contextLength: true,
};

function readConfiguration(input: object): Rwkv4Configuration {
  const reader = ConfigurationReader.of(input, rwkv4Family);
  const common = reader.common(rwkv4Family, { vocabSize: 50277, hiddenSize: 4096, numHiddenLayers: 32 });
  return {
    ...common,
    channels: reader.size('attention_hidden_size', common.hiddenSize),
    intermediateSize: reader.size('intermediate_size', 4 * common.hiddenSize),
    normEps: reader.number('layer_norm_epsilon', 1e-5),
    rescaleEvery: reader.count('rescale_every', 6),
  };
}

/** A LayerNorm of what the published program has halved `halvings` times in evaluation mode. */
class HalvedNorm extends LayerNorm {
  constructor(
    dim: number,
    private readonly halvings: number,
    options: TensorOptions & { eps: number },
  ) {
    super(dim, options);
  }

  override forward(x: Tensor): Tensor {
    if (this.training) return super.forward(x);
    return layerNorm(x, this.weight, this.bias, { eps: this.eps * 4 ** this.halvings });
  }
}

class Rwkv4Block extends RwkvBlock {
  pre_ln: LayerNorm | null;
  ln1: LayerNorm;
  ln2: LayerNorm;
  attention: RWKV4Attention;
  feed_forward: RWKV4FeedForward;

  constructor(config: Rwkv4Configuration, layer: number, options: TensorOptions) {
    super();
    const { hiddenSize, normEps: eps, rescaleEvery } = config;
    const halvings = rescaleEvery === 0 ? 0 : Math.floor(layer / rescaleEvery);
    this.pre_ln = layer === 0 ? new LayerNorm(hiddenSize, { eps, ...options }) : null;
    this.ln1 = new HalvedNorm(hiddenSize, halvings, { eps, ...options });
    this.ln2 = new HalvedNorm(hiddenSize, halvings, { eps, ...options });
    this.attention = new RWKV4Attention(config, layer, options);
    this.feed_forward = new RWKV4FeedForward(config, layer, options);
  }

  protected get parts(): RwkvParts {
    const { pre_ln: first, ln1: mixerNorm, attention: mixer, ln2: feedForwardNorm, feed_forward: feedForward } = this;
    return { first, mixerNorm, mixer, feedForwardNorm, feedForward };
  }
}

class Rwkv4Decoder extends Decoder {
  embeddings: Embedding;
  blocks: Rwkv4Block[];
  ln_out: LayerNorm;

  constructor(config: Rwkv4Configuration, options: TensorOptions) {
    super();
    const { vocabSize, hiddenSize, numHiddenLayers, rescaleEvery } = config;
    this.embeddings = new Embedding(vocabSize, hiddenSize, options);
    this.blocks = Array.from({ length: numHiddenLayers }, (_, i) => new Rwkv4Block(config, i, options));
    const halvings = rescaleEvery === 0 ? 0 : Math.floor(numHiddenLayers / rescaleEvery);
    // The configuration's epsilon is that of the blocks alone.
    this.ln_out = new HalvedNorm(hiddenSize, halvings, { eps: 1e-5, ...options });
  }

  get tokens(): Embedding {
    return this.embeddings;
  }

  get layers(): Rwkv4Block[] {
    return this.blocks;
  }

  get norm(): LayerNorm {
    return this.ln_out;
  }
}

/**
 * Language model of `RWKV4Attention` layers under the weight names of transformers' RwkvForCausalLM, `model_type` 'rwkv'; 32
 * layers of width 4096 by default. New weights are those of the published programs, whatever `initializerRange` is, but normal
 * where they have orthogonal matrices.
 */
export class RwkvForCausalLM extends CausalLM<Rwkv4Configuration> {
  constructor(input: EitherSpelling<Rwkv4Keys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    super(config, new Rwkv4Decoder(config, options), options);
    if (!drawsWeights()) return;
    for (const [, module] of this.namedModules()) {
      if (module instanceof RWKV4Attention || module instanceof RWKV4FeedForward) module.initialize();
      else if (module instanceof Linear) {
        const [to, from] = module.weight.shape;
        likeOrthogonal(module.weight, (module === this.lm_head ? 0.5 : 1) * Math.max(1, to / from) ** 0.5);
      }
    }
    uniform(this.model.tokens.weight, 1e-4);
  }

  override get weightNames(): WeightNames {
    return { backbone: 'rwkv', head: 'head' };
  }
}

export const rwkv4Family: ModelDefinition<Rwkv4Keys, 'rwkv4'> = {
  modelType: 'rwkv',
  name: 'rwkv4',
  architecture: 'RwkvForCausalLM',
  description: 'RWKV-4: averages of values, weighted by keys and age (Peng et al. 2023)',
  keys: KEYS,
  configuration: ({ intermediateSize = null }) => ({ intermediateSize }),
  model: RwkvForCausalLM,
};
