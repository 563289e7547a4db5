// The skeleton of Mamba: embedding, blocks of a norm and a mixer without a feed-forward, final norm, under their names.
import { Embedding, RMSNorm } from '../../nn';
import type { TensorOptions } from '../../ops';
import { type Block, Decoder, MixerBlock, type MixerParts } from '../common/block';
import { CausalLM, type WeightNames } from '../common/causalLM';
import type { Configuration, ConfigurationReader } from '../common/configuration';
import type { TimeStepRange } from '../common/initialize';
import type { Recurrent } from '../common/mixer';

/** What the skeleton reads of a configuration. */
export interface MambaConfiguration extends Configuration {
  /** Added to the mean square in every RMSNorm in front of a layer and behind the last one. */
  readonly normEps: number;
}

/** Steps in time of new weights, under the names that a family's keys have. */
export function readTimeSteps(reader: ConfigurationReader, least: string, most: string, floor: string): TimeStepRange {
  const high = reader.positive(most, 0.1);
  return { low: reader.positive(least, 1e-3, high), high, floor: reader.number(floor, 1e-4) };
}

/** x + mixer(norm(x)), and nothing else. */
class MambaBlock<M extends Recurrent> extends MixerBlock {
  norm: RMSNorm;
  mixer: M;

  constructor({ hiddenSize, normEps }: MambaConfiguration, mixer: M, options: TensorOptions) {
    super();
    this.norm = new RMSNorm(hiddenSize, { eps: normEps, ...options });
    this.mixer = mixer;
  }

  protected get parts(): MixerParts {
    return { mixerNorm: this.norm, mixer: this.mixer };
  }
}

/** Embedding, blocks and final norm; `makeBlock` is called with the number of each layer. */
export class MambaDecoder<B extends Block> extends Decoder {
  /** Vectors of the tokens, weight [vocabSize, hiddenSize]. */
  embeddings: Embedding;
  /** From the embedding up. */
  layers: B[];
  /** Behind the last block, weight [hiddenSize]. */
  norm_f: RMSNorm;

  constructor(config: MambaConfiguration, makeBlock: (layer: number) => B, options: TensorOptions) {
    super();
    const { vocabSize, hiddenSize, numHiddenLayers, normEps } = config;
    this.embeddings = new Embedding(vocabSize, hiddenSize, options);
    this.layers = Array.from({ length: numHiddenLayers }, (_, layer) => makeBlock(layer));
    this.norm_f = new RMSNorm(hiddenSize, { eps: normEps, ...options });
  }

  get tokens(): Embedding {
    return this.embeddings;
  }

  get norm(): RMSNorm {
    return this.norm_f;
  }
}

const WEIGHT_NAMES: WeightNames = { backbone: 'backbone', head: 'lm_head' };

/** A language model whose weights are saved under `backbone.`. */
export abstract class BackboneLM<C extends Configuration> extends CausalLM<C> {
  override get weightNames(): WeightNames {
    return WEIGHT_NAMES;
  }
}

/** A language model of mixers alone; `makeMixer` is called once for each layer. */
export abstract class MambaLM<C extends MambaConfiguration, M extends Recurrent> extends BackboneLM<C> {
  declare model: MambaDecoder<MambaBlock<M>>;

  constructor(config: C, makeMixer: () => M, options: TensorOptions) {
    const makeBlock = (): MambaBlock<M> => new MambaBlock(config, makeMixer(), options);
    super(config, new MambaDecoder(config, makeBlock, options), options);
  }

  /** From the embedding up. */
  protected get mixers(): M[] {
    return this.model.layers.map(({ mixer }) => mixer);
  }
}
