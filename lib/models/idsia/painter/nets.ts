// The Fast Weight Painter's generators without an LSTM: a Transformer, and a Recurrent Delta Net (Irie and Schmidhuber 2023;
// spec 2.7).
import { argumentError, checkInteger, checkOptions, type OptionNames, type Tensor } from '../../../core';
import { LayerNorm, Linear, Module } from '../../../nn';
import { split, type TensorOptions, zeros } from '../../../ops';
import { mergeHeads, stateDType } from '../../common/mixer';
import { RecurrentDeltaLayer } from '../recurrentLayers';
import { FeedForwardSublayer } from '../sublayer';
import { Painter, PAINTER_SIZES, type PainterSizes, partOfLatent } from './base';

/** Options of `TransformerPainter` and `RecurrentDeltaPainter`. */
export interface PainterNetOptions extends PainterSizes {
  /** Width of the net: 512 by default. */
  hiddenSize?: number;
  /** 1 by default. */
  numLayers?: number;
  /** A divisor of hiddenSize, 8 by default. */
  numHeads?: number;
  /** Width of the feed-forward sublayers: 1024 by default. */
  intermediateSize?: number;
}

const OPTIONS: OptionNames<PainterNetOptions> = {
  ...PAINTER_SIZES,
  hiddenSize: true,
  numLayers: true,
  numHeads: true,
  intermediateSize: true,
};

function sizesOf(
  where: string,
  options: PainterNetOptions,
): Required<Pick<PainterNetOptions, 'hiddenSize' | 'numLayers' | 'numHeads' | 'intermediateSize'>> {
  checkOptions(where, options, OPTIONS);
  const { hiddenSize = 512, numLayers = 1, numHeads = 8, intermediateSize = 1024 } = options;
  const sizes = { hiddenSize, numLayers, numHeads, intermediateSize };
  for (const [name, size] of Object.entries(sizes)) checkInteger(where, name, size, 1);
  if (hiddenSize % numHeads === 0) return sizes;
  throw argumentError(
    'INVALID_ARGUMENT',
    where,
    'numHeads',
    `a divisor of hiddenSize (${hiddenSize})`,
    String(numHeads),
  );
}

/** x + out_linear(attention of LN(x) to all of it); scores are divided by the root of the whole width, as published. */
class StrokeAttention extends Module {
  slow_net: Linear;
  out_linear: Linear;
  layer_norm: LayerNorm;

  constructor(
    width: number,
    private readonly heads: number,
    place: TensorOptions,
  ) {
    super();
    this.slow_net = new Linear(width, 3 * width, { bias: false, ...place });
    this.out_linear = new Linear(width, width, { bias: false, ...place });
    this.layer_norm = new LayerNorm(width, place);
  }

  /** x [B, T, width] */
  forward(x: Tensor): Tensor {
    const [B, T, width] = x.shape;
    const D = width / this.heads;
    const all = this.slow_net
      .forward(this.layer_norm.forward(x))
      .reshape(B, T, this.heads, 3 * D)
      .transpose(1, 2);
    const [q, k, v] = split(all, [D, D, D], 3);
    const read = q
      .mul(width ** -0.5)
      .matmul(k.transpose(2, 3))
      .softmax(-1)
      .matmul(v);
    return x.add(this.out_linear.forward(mergeHeads(read.transpose(1, 2))));
  }
}

/**
 * A Transformer in place of the LSTM: z is cut into a vector for every stroke, and all strokes attend to all, without a mask.
 * Names of the published program (`TransformerDeltaTimeSplitLatentGenerator`).
 */
export class TransformerPainter extends Painter {
  /** A stroke's part of z to its input, weight [hiddenSize, latentSize / steps]. */
  per_time_linear_input: Linear;
  /** Attention and feed-forward by turns. */
  transformer_encoder: (StrokeAttention | FeedForwardSublayer)[];

  /** INVALID_ARGUMENT where latentSize is no multiple of steps, or hiddenSize none of numHeads. */
  constructor(options: PainterNetOptions = {}) {
    const where = 'TransformerPainter';
    const { hiddenSize, numLayers, numHeads, intermediateSize } = sizesOf(where, options);
    super(where, options, hiddenSize, hiddenSize);
    const place = { device: options.device, dtype: options.dtype };
    this.per_time_linear_input = new Linear(partOfLatent(where, options), hiddenSize, place);
    this.transformer_encoder = Array.from({ length: numLayers }, () => [
      new StrokeAttention(hiddenSize, numHeads, place),
      new FeedForwardSublayer(hiddenSize, intermediateSize, place),
    ]).flat();
  }

  protected hidden(z: Tensor): Tensor {
    const parts = z.reshape(z.shape[0], this.steps, this.latentSize / this.steps);
    const input = this.timed(this.per_time_linear_input.forward(parts));
    return this.transformer_encoder.reduce((x, layer) => layer.forward(x), input);
  }
}

/**
 * A Recurrent Delta Net in place of the LSTM, fast weights that program fast weights: z is its input at every stroke, and gives
 * the output that its first step sees. Names of the published program (`RFWPDeltaGenerator`).
 */
export class RecurrentDeltaPainter extends Painter {
  /** z to the first outputs of all layers, weight [numLayers hiddenSize, latentSize]. */
  latent_to_init: Linear;
  /** z, with what tells strokes apart, to the input, weight [hiddenSize, latentSize]. */
  latent_to_input: Linear;
  /** Their input is x + f(LN(x)) of the one before. */
  rfwp_layers: RecurrentDeltaLayer[];
  /** Behind each. */
  ff_layers: FeedForwardSublayer[];

  /** INVALID_ARGUMENT where hiddenSize is no multiple of numHeads. */
  constructor(options: PainterNetOptions = {}) {
    const where = 'RecurrentDeltaPainter';
    const { hiddenSize, numLayers, numHeads, intermediateSize } = sizesOf(where, options);
    super(where, options, options.latentSize ?? 512, hiddenSize);
    const place = { device: options.device, dtype: options.dtype };
    this.latent_to_init = new Linear(this.latentSize, numLayers * hiddenSize, place);
    this.latent_to_input = new Linear(this.latentSize, hiddenSize, place);
    const layers = <L>(make: () => L): L[] => Array.from({ length: numLayers }, make);
    this.rfwp_layers = layers(() => new RecurrentDeltaLayer(hiddenSize, numHeads, { arrangement: 'pre', ...place }));
    this.ff_layers = layers(() => new FeedForwardSublayer(hiddenSize, intermediateSize, place));
  }

  protected hidden(z: Tensor): Tensor {
    const { rfwp_layers: layers, steps } = this;
    const B = z.shape[0];
    const { numHeads: H, headDim: D } = layers[0];
    const first = this.latent_to_init.forward(z).reshape(B, layers.length, H, D);
    const where = { device: z.device, dtype: stateDType(z) };
    const input = this.latent_to_input.forward(this.timed(z.unsqueeze(1).expand(B, steps, z.shape[1])));
    return layers.reduce((x, layer, i) => {
      const state = { state: zeros([B, H, D, D], where), output: first.select(1, i).to(where.dtype) };
      return this.ff_layers[i].forward(layer.forward(x, { state }).output);
    }, input);
  }
}
