// What the generators of the Fast Weight Painter share (Irie and Schmidhuber 2023; spec 2.7): from what a net says at every
// stroke to an image.
import { argumentError, checkChoice, checkInteger, checkObject, type OptionNames, type Tensor } from '../../../core';
import { init, Linear, Module, parameter } from '../../../nn';
import { checkFloat, checkShape, randn, split, TENSOR_OPTIONS, type TensorOptions } from '../../../ops';
import { fastWeightPainter, type PainterStrokes } from '../../../rules';

/** Options that all generators have. */
export interface PainterSizes extends PainterStrokes, TensorOptions {
  /** Width and height of the image: 64 by default. */
  imageSize?: number;
  /** Strokes: 64 by default. */
  steps?: number;
  /** 3 by default. */
  channels?: number;
  /** Width of z: 512 by default. */
  latentSize?: number;
  /** Whether the canvas to begin on is trained; false by default. */
  learnedInit?: boolean;
  /** Whether a trained vector for every stroke is added to what the net sees; false by default. */
  timeEncoding?: boolean;
}

/** The names of `PainterSizes`. */
export const PAINTER_SIZES: OptionNames<PainterSizes> = {
  ...TENSOR_OPTIONS,
  imageSize: true,
  steps: true,
  channels: true,
  latentSize: true,
  learnedInit: 'flag',
  timeEncoding: 'flag',
  updateRule: true,
  softmaxKeys: 'flag',
  valueTanh: 'flag',
  outputTanh: 'flag',
  vectorRate: 'flag',
};

/** Width of the part of z that a stroke has to itself; INVALID_ARGUMENT where z cannot be cut so. */
export function partOfLatent(where: string, { steps = 64, latentSize = 512 }: PainterSizes): number {
  if (latentSize % steps === 0) return latentSize / steps;
  throw argumentError('INVALID_ARGUMENT', where, 'latentSize', `a multiple of the ${steps} steps`, String(latentSize));
}

/**
 * Base of the generators, from a latent vector z [B, latentSize] to an image [B, channels, n, n]: a subclass says what a net
 * makes of z at every stroke, of which a linear layer makes keys, values and rates, which `fastWeightPainter` paints.
 * softmaxKeys and outputTanh are true by default.
 */
export abstract class Painter extends Module {
  /** To keys, values and rates of all channels; null with the rule 'sum'. */
  kvb_net: Linear | null;
  /** With the rule 'sum': to keys and values. */
  kv_net: Linear | null;
  /** What is added to the net's input [steps, its width], N(0, 1); null without `timeEncoding`. */
  decoder_time_enc: Tensor | null;
  /** Canvas to begin on [channels, n, n], N(0, 1); null without `learnedInit`. */
  learned_init: Tensor | null;
  /** Width and height of the image. */
  readonly imageSize: number;
  /** Strokes. */
  readonly steps: number;
  /** Of the image. */
  readonly channels: number;
  /** Of z. */
  readonly latentSize: number;
  private readonly strokes: Required<PainterStrokes>;

  /** `where`: the subclass; `inputSize`: what the net sees at a stroke; `hiddenSize`: what it says. */
  constructor(
    private readonly where: string,
    options: PainterSizes,
    inputSize: number,
    hiddenSize: number,
  ) {
    super();
    checkObject(where, 'options', options);
    const {
      imageSize = 64,
      steps = 64,
      channels = 3,
      latentSize = 512,
      learnedInit,
      timeEncoding,
      device,
      dtype,
    } = options;
    const {
      updateRule = 'delta',
      softmaxKeys = true,
      valueTanh = false,
      outputTanh = true,
      vectorRate = false,
    } = options;
    checkChoice(where, 'updateRule', updateRule, ['delta', 'sum', 'oja']);
    for (const [name, size] of Object.entries({ imageSize, steps, channels, latentSize, hiddenSize })) {
      checkInteger(where, name, size, 1);
    }
    [this.imageSize, this.steps, this.channels, this.latentSize] = [imageSize, steps, channels, latentSize];
    this.strokes = { updateRule, softmaxKeys, valueTanh, outputTanh, vectorRate };
    const place = { device, dtype };
    const rates = updateRule === 'sum' ? 0 : vectorRate ? imageSize : 1;
    const toStrokes = new Linear(hiddenSize, channels * (2 * imageSize + rates), place);
    [this.kvb_net, this.kv_net] = updateRule === 'sum' ? [null, toStrokes] : [toStrokes, null];
    this.decoder_time_enc = timeEncoding ? parameter(randn([steps, inputSize], place)) : null;
    this.learned_init = learnedInit ? parameter(randn([channels, imageSize, imageSize], place)) : null;
  }

  /** What the net says of z [B, latentSize] at every stroke [B, steps, hiddenSize]. */
  protected abstract hidden(z: Tensor): Tensor;

  /** What the net sees [B, steps, inputSize], with what tells the strokes apart. */
  protected timed(input: Tensor): Tensor {
    return this.decoder_time_enc ? input.add(this.decoder_time_enc) : input;
  }

  /** z [B, latentSize] to the image [B, channels, n, n]. */
  forward(z: Tensor): Tensor {
    const { learned_init } = this;
    const { k, v, beta } = this.strokesOf(z);
    const [B, n] = [z.shape[0], this.imageSize];
    const initialState = learned_init && learned_init.unsqueeze(0).expand(B, this.channels, n, n);
    return fastWeightPainter({ k, v, beta, initialState }, this.strokes).output;
  }

  /** z [B, latentSize] to the strokes before their activations: k, v [B, steps, channels, n], beta [B, steps, channels, 1 or n]. */
  strokesOf(z: Tensor): { k: Tensor; v: Tensor; beta: Tensor | null } {
    const { where, steps, channels, latentSize } = this;
    checkFloat(where, 'z', z);
    const B = z.shape[0];
    checkShape(where, 'z', z, [B ?? 0, latentSize], 'batch, latentSize');
    const all = (this.kvb_net ?? this.kv_net!).forward(this.hidden(z));
    const n = channels * this.imageSize;
    const [k, v, beta] = split(all, [n, n, all.shape[2] - 2 * n], 2).map((part) =>
      part.reshape(B, steps, channels, part.shape[2] / channels),
    );
    return { k, v, beta: this.kv_net ? null : beta };
  }

  /** Weights and biases of the strokes as the LSTM generators draw them. */
  protected drawStrokes(): void {
    if (!this.kvb_net) return;
    const { weight, bias } = this.kvb_net;
    const bound = (this.channels * (2 * this.imageSize + 1)) ** -0.5;
    init.uniform_(weight, -bound, bound);
    init.uniform_(bias!, -bound, bound);
  }
}
