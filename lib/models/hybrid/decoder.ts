// Embedding, blocks and final norm under the names that transformers has.
import { Embedding } from '../../nn';
import type { TensorOptions } from '../../ops';
import { type Block, Decoder, type Pointwise } from '../common/block';
import type { Configuration } from '../common/configuration';

/** `embed_tokens`, `layers`, `norm`; a family says what its blocks are. */
export class HybridDecoder extends Decoder {
  /** Vectors of the tokens, weight [vocabSize, hiddenSize]. */
  embed_tokens: Embedding;
  /** One for each layer. */
  layers: Block[];
  /** Behind the last block, weight [hiddenSize]. */
  norm: Pointwise;

  constructor(
    { vocabSize, hiddenSize, numHiddenLayers }: Configuration,
    makeBlock: (layer: number) => Block,
    makeNorm: () => Pointwise,
    options: TensorOptions,
  ) {
    super();
    this.embed_tokens = new Embedding(vocabSize, hiddenSize, options);
    this.layers = Array.from({ length: numHiddenLayers }, (_, i) => makeBlock(i));
    this.norm = makeNorm();
  }

  get tokens(): Embedding {
    return this.embed_tokens;
  }
}
