// The generators of the Fast Weight Painter (Irie and Schmidhuber 2023; spec 2.7).
import { checkChoice, checkInteger, checkOptions, type OptionNames, type Tensor } from '../../core';
import { init, Linear, LSTM, Module, parameter } from '../../nn';
import { checkFloat, checkShape, randn, split, TENSOR_OPTIONS, type TensorOptions } from '../../ops';
import { fastWeightPainter, type PainterStrokes } from '../../rules';

/** Options of `PainterGenerator`. */
export interface PainterGeneratorOptions extends PainterStrokes, TensorOptions {
  /**
   * 'v1': the latent vector is the LSTM's input for every stroke and gives its first state; 'v2', the default: a small
   * latent vector for every stroke is the input.
   */
  generator?: 'v1' | 'v2';
  /** Width and height of the image: 64 by default. */
  imageSize?: number;
  /** Strokes: 64 by default. */
  steps?: number;
  /** 3 by default. */
  channels?: number;
  /** Width of z: 512 by default. */
  latentSize?: number;
  /** Width of the LSTM: 1024 by default. */
  hiddenSize?: number;
  /** v2: width of a stroke's latent vector; 8 by default. */
  strokeLatentSize?: number;
  /** v2: width of the LSTM's input; 128 by default. */
  inputSize?: number;
  /** Whether the first state of the LSTM comes from z; in v2 false by default, in v1 always. */
  latentToInit?: boolean;
  /** v1: whether the canvas to begin on is trained; false by default. */
  learnedInit?: boolean;
  /** Whether a trained vector for every stroke is added to the LSTM's input; false by default. */
  timeEncoding?: boolean;
}

const OPTIONS: OptionNames<PainterGeneratorOptions> = {
  ...TENSOR_OPTIONS,
  generator: true,
  imageSize: true,
  steps: true,
  channels: true,
  latentSize: true,
  hiddenSize: true,
  strokeLatentSize: true,
  inputSize: true,
  latentToInit: 'flag',
  learnedInit: 'flag',
  timeEncoding: 'flag',
  updateRule: true,
  softmaxKeys: 'flag',
  valueTanh: 'flag',
  outputTanh: 'flag',
  vectorRate: 'flag',
};

/**
 * From a latent vector z [B, latentSize] to an image [B, channels, n, n]: an LSTM gives the keys, values and rates of all
 * strokes, which `fastWeightPainter` paints. Names and new weights of the published program (IDSIA/fpainter,
 * `LSTMDeltaGenerator`, `LSTMDeltaTimeSplitLatentGeneratorV2`; with the rule 'sum' `LSTMSumGenerator`, with 'oja'
 * `LSTMOjaTimeSplitLatentGeneratorV2`). softmaxKeys and outputTanh are true by default.
 */
export class PainterGenerator extends Module {
  /** z to the LSTM's first states, weight [2 hiddenSize, latentSize]; null without `latentToInit`. */
  latent_to_init: Linear | null;
  /** v2: z to the small vectors of all strokes, weight [steps strokeLatentSize, latentSize]. */
  input_generator: Linear | null;
  /** v2: a stroke's vector to the LSTM's input, weight [inputSize, strokeLatentSize]. */
  per_time_linear_input: Linear | null;
  /** From stroke to stroke, its input z in v1. */
  decoder_rnn: LSTM;
  /** To keys, values and rates of all channels; null with the rule 'sum'. */
  kvb_net: Linear | null;
  /** With the rule 'sum': to keys and values. */
  kv_net: Linear | null;
  /** What is added to the LSTM's input [steps, its width], N(0, 1); null without `timeEncoding`. */
  decoder_time_enc: Tensor | null;
  /** Canvas to begin on [channels, n, n], N(0, 1); null without `learnedInit`. */
  learned_init: Tensor | null;
  /** Width and height of the image. */
  readonly imageSize: number;
  /** Strokes. */
  readonly steps: number;
  /** Of the image. */
  readonly channels: number;
  private readonly strokes: Required<PainterStrokes>;

  constructor(options: PainterGeneratorOptions = {}) {
    super();
    const where = 'PainterGenerator';
    checkOptions(where, options, OPTIONS);
    const {
      generator = 'v2',
      imageSize = 64,
      steps = 64,
      channels = 3,
      latentSize = 512,
      hiddenSize = 1024,
      strokeLatentSize = 8,
      inputSize = 128,
      latentToInit = false,
      learnedInit = false,
      timeEncoding = false,
      updateRule = 'delta',
      softmaxKeys = true,
      valueTanh = false,
      outputTanh = true,
      vectorRate = false,
      ...place
    } = options;
    checkChoice(where, 'generator', generator, ['v1', 'v2']);
    checkChoice(where, 'updateRule', updateRule, ['delta', 'sum', 'oja']);
    const sizes = { imageSize, steps, channels, latentSize, hiddenSize, strokeLatentSize, inputSize };
    for (const [name, size] of Object.entries(sizes)) checkInteger(where, name, size, 1);
    [this.imageSize, this.steps, this.channels] = [imageSize, steps, channels];
    this.strokes = { updateRule, softmaxKeys, valueTanh, outputTanh, vectorRate };
    const v1 = generator === 'v1';
    const width = v1 ? latentSize : inputSize;
    this.latent_to_init = v1 || latentToInit ? new Linear(latentSize, 2 * hiddenSize, place) : null;
    this.input_generator = v1 ? null : new Linear(latentSize, strokeLatentSize * steps, place);
    this.per_time_linear_input = v1 ? null : new Linear(strokeLatentSize, inputSize, place);
    this.decoder_rnn = new LSTM(width, hiddenSize, place);
    const rates = updateRule === 'sum' ? 0 : vectorRate ? imageSize : 1;
    const toStrokes = new Linear(hiddenSize, channels * (2 * imageSize + rates), place);
    [this.kvb_net, this.kv_net] = updateRule === 'sum' ? [null, toStrokes] : [toStrokes, null];
    this.decoder_time_enc = timeEncoding ? parameter(randn([steps, width], place)) : null;
    this.learned_init = learnedInit ? parameter(randn([channels, imageSize, imageSize], place)) : null;
    if (this.kvb_net) this.drawAsPublished(this.kvb_net);
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
    const { latent_to_init, input_generator, per_time_linear_input, decoder_time_enc, steps, channels } = this;
    checkFloat('PainterGenerator', 'z', z);
    const latentSize = (input_generator ?? latent_to_init!).weight.shape[1];
    const B = z.shape[0];
    checkShape('PainterGenerator', 'z', z, [B ?? 0, latentSize], 'batch, latentSize');
    const input =
      input_generator && per_time_linear_input
        ? per_time_linear_input.forward(input_generator.forward(z).tanh().reshape(B, steps, -1))
        : z.unsqueeze(1).expand(B, steps, latentSize);
    const states = latent_to_init?.forward(z).chunk(2, -1);
    const initial = states && { hidden: states[0].unsqueeze(0), cell: states[1].unsqueeze(0) };
    const timed = decoder_time_enc ? input.add(decoder_time_enc) : input;
    const hidden = this.decoder_rnn.forward(timed, { state: initial }).output;
    const all = (this.kvb_net ?? this.kv_net!).forward(hidden);
    const n = channels * this.imageSize;
    const [k, v, beta] = split(all, [n, n, all.shape[2] - 2 * n], 2).map((part) =>
      part.reshape(B, steps, channels, part.shape[2] / channels),
    );
    return { k, v, beta: this.kv_net ? null : beta };
  }

  /** Biases of the strokes are uniform, too; what leads to the LSTM is He-normal. */
  private drawAsPublished({ weight, bias }: Linear): void {
    const bound = (this.channels * (2 * this.imageSize + 1)) ** -0.5;
    init.uniform_(weight, -bound, bound);
    init.uniform_(bias!, -bound, bound);
    const first = this.per_time_linear_input ?? this.latent_to_init!;
    init.kaimingNormal_(first.weight);
  }
}
