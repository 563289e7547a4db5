// RWKV-7 in the layout of flash-linear-attention (Peng et al. 2025, "RWKV-7 Goose"; spec 2.13.8).
import type { Placed } from '../common/mixer';
import { noGrad } from '../../autograd';
import { checkObject, type Tensor } from '../../core';
import { partOfSources } from '../../io';
import { drawsWeights, Linear, parameter } from '../../nn';
import { type TensorOptions, zeros } from '../../ops';
import { CausalLM } from '../common/causalLM';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import type { EitherSpelling } from '../common/keys';
import type { Entries } from '../common/pretrained';
import type { ModelDefinition } from '../common/registry';
import { ChannelMix } from './block';
import { FlaRwkvDecoder, type RwkvConfiguration } from './fla';
import { along, assign, likeOrthogonal, uniform } from './parts';
import { MIXES, RWKV7Attention } from './rwkv7Attention';
import { readRwkv7, RWKV7_KEYS, type Rwkv7Configuration, type Rwkv7Keys } from './rwkv7Configuration';

/** value(relu(key(x + delta x_k))^2), delta the token before less x. */
export class RWKV7FeedForward extends ChannelMix {
  /** How much of the token before goes in [hiddenSize]. */
  x_k: Tensor;
  /** [intermediateSize, hiddenSize] */
  key: Linear;
  /** [hiddenSize, intermediateSize] */
  value: Linear;

  constructor(
    /** Of the model. */
    readonly config: RwkvConfiguration,
    /** From 0. */
    readonly layer: number,
    options: TensorOptions = {},
  ) {
    checkObject(new.target.name, 'config', config);
    const { hiddenSize, intermediateSize } = config;
    super(hiddenSize);
    this.x_k = parameter(zeros([hiddenSize], options));
    this.key = new Linear(hiddenSize, intermediateSize, { bias: false, ...options });
    this.value = new Linear(intermediateSize, hiddenSize, { bias: false, ...options });
  }

  protected get reference(): Placed {
    return this.key;
  }

  protected mixed(x: Tensor, delta: Tensor): Tensor {
    return this.value.forward(
      this.key
        .forward(x.add(delta.mul(this.x_k)))
        .relu()
        .square(),
    );
  }

  /** As published. */
  initialize(): void {
    const D = this.hiddenSize;
    const left = 1 - this.layer / this.config.numHiddenLayers;
    assign(
      this.x_k,
      along(D, (_, n) => 1 - (n / D) ** (left ** 4)),
    );
    likeOrthogonal(this.key.weight);
    noGrad(() => this.value.weight.fill_(0));
  }
}

/**
 * Language model of `RWKV7Attention` layers under the weight names of flash-linear-attention's RWKV7ForCausalLM, `model_type`
 * 'rwkv7'; 24 layers of width 2048 with heads of 64 by default. New weights are those of the published program, whatever
 * `initializerRange` is, but normal where that has orthogonal matrices.
 */
export class RWKV7ForCausalLM extends CausalLM<Rwkv7Configuration> {
  constructor(input: EitherSpelling<Rwkv7Keys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readRwkv7(ConfigurationReader.of(input, rwkv7Family), rwkv7Family);
    const mixer = (layer: number): RWKV7Attention => new RWKV7Attention(config, layer, options);
    const feedForward = (layer: number): RWKV7FeedForward => new RWKV7FeedForward(config, layer, options);
    super(config, new FlaRwkvDecoder(config, { mixer, feedForward }, options), options);
    if (!drawsWeights()) return;
    for (const [, module] of this.namedModules()) {
      if (module instanceof RWKV7Attention || module instanceof RWKV7FeedForward) module.initialize();
    }
    checkObject(new.target.name, 'config', config);
    const { vocabSize, hiddenSize, tieWordEmbeddings } = config;
    uniform(this.model.tokens.weight, 1e-4);
    if (!tieWordEmbeddings) likeOrthogonal(this.lm_head.weight, 0.5 * Math.max(1, vocabSize / hiddenSize) ** 0.5);
  }
}

/** Older files hold the six mixes of a layer as one [6, hiddenSize]. */
function splitMixes(entries: Entries): Entries {
  const found = new Map(entries);
  for (const [name, entry] of entries) {
    const [rows, width] = entry.shape;
    if (!/\.attn\.x_x$/.test(name) || entry.shape.length !== 2 || rows !== MIXES.length) continue;
    found.delete(name);
    MIXES.forEach((mix, i) => {
      const own = name.replace(/x_x$/, mix);
      found.set(own, partOfSources(own, [entry], i * width, [1, 1, width]));
    });
  }
  return found;
}

export const rwkv7Family: ModelDefinition<Rwkv7Keys, 'rwkv7'> = {
  modelType: 'rwkv7',
  name: 'rwkv7',
  architecture: 'RWKV7ForCausalLM',
  description: 'RWKV-7: a diagonal plus low-rank memory with token shift (Peng et al. 2025)',
  keys: RWKV7_KEYS,
  configuration: ({ headDim, numHeads, intermediateSize = null }) => ({
    numHeads,
    headDim,
    intermediateSize,
    decayLowRankDim: null,
    gateLowRankDim: null,
    aLowRankDim: null,
    vLowRankDim: null,
  }),
  fromFolder: splitMixes,
  model: RWKV7ForCausalLM,
};
