// The Fast Weight Painter's generators with an LSTM (Irie and Schmidhuber 2023; spec 2.7).
import { argumentError, checkChoice, checkInteger, checkOptions, type OptionNames, type Tensor } from '../../../core';
import { init, Linear, LSTM } from '../../../nn';
import { Painter, PAINTER_SIZES, type PainterSizes, partOfLatent } from './base';

/** Options of `PainterGenerator`. */
export interface PainterGeneratorOptions extends PainterSizes {
  /**
   * What the LSTM sees: 'v1': z at every stroke, and its first state comes from z, too; 'split': z is cut into a small vector for
   * every stroke; 'v2', the default: small vectors that are made of all of z.
   */
  generator?: 'v1' | 'split' | 'v2';
  /** Width of the LSTM: 1024 by default. */
  hiddenSize?: number;
  /** v2: width of a stroke's latent vector; 8 by default. With 'split' it is latentSize / steps. */
  strokeLatentSize?: number;
  /** v2, split: width of the LSTM's input; 128 by default. */
  inputSize?: number;
  /** Whether the first state of the LSTM comes from z; false by default, in v1 always. */
  latentToInit?: boolean;
}

const OPTIONS: OptionNames<PainterGeneratorOptions> = {
  ...PAINTER_SIZES,
  generator: true,
  hiddenSize: true,
  strokeLatentSize: true,
  inputSize: true,
  latentToInit: 'flag',
};

/** Width of a stroke's latent vector. */
function strokeWidth(where: string, options: PainterGeneratorOptions): number {
  const { generator, strokeLatentSize } = options;
  if (generator !== 'split') return checkInteger(where, 'strokeLatentSize', strokeLatentSize ?? 8, 1);
  const width = partOfLatent(where, options);
  if ((strokeLatentSize ?? width) === width) return width;
  throw argumentError('INVALID_ARGUMENT', where, 'strokeLatentSize', `${width} with 'split'`, String(strokeLatentSize));
}

/**
 * The generators with an LSTM, whose output is a stroke. Names and new weights of the published program (IDSIA/fpainter,
 * `LSTMDeltaGenerator`, `LSTMDeltaTimeSplitLatentGenerator` and its `V2`; with the rule 'sum' `LSTMSumGenerator`, with 'oja'
 * `LSTMOjaTimeSplitLatentGeneratorV2`).
 */
export class PainterGenerator extends Painter {
  /** z to the LSTM's first states, weight [2 hiddenSize, latentSize]; null without `latentToInit`. */
  latent_to_init: Linear | null;
  /** v2: z to the small vectors of all strokes, weight [steps strokeLatentSize, latentSize]. */
  input_generator: Linear | null;
  /** v2, split: a stroke's vector to the LSTM's input, weight [inputSize, strokeLatentSize]. */
  per_time_linear_input: Linear | null;
  /** From stroke to stroke, its input z in v1. */
  decoder_rnn: LSTM;

  constructor(options: PainterGeneratorOptions = {}) {
    const where = 'PainterGenerator';
    checkOptions(where, options, OPTIONS);
    const { generator = 'v2', hiddenSize = 1024, inputSize = 128, latentToInit = false, device, dtype } = options;
    checkChoice(where, 'generator', generator, ['v1', 'split', 'v2']);
    checkInteger(where, 'inputSize', inputSize, 1);
    const { latentSize = 512, steps = 64 } = options;
    const v1 = generator === 'v1';
    const width = v1 ? latentSize : inputSize;
    super(where, options, width, hiddenSize);
    const small = strokeWidth(where, options);
    const place = { device, dtype };
    this.latent_to_init = v1 || latentToInit ? new Linear(latentSize, 2 * hiddenSize, place) : null;
    this.input_generator = generator === 'v2' ? new Linear(latentSize, small * steps, place) : null;
    this.per_time_linear_input = v1 ? null : new Linear(small, inputSize, place);
    this.decoder_rnn = new LSTM(width, hiddenSize, place);
    if (!this.kvb_net) return;
    this.drawStrokes();
    init.kaimingNormal_((this.per_time_linear_input ?? this.latent_to_init!).weight);
  }

  protected hidden(z: Tensor): Tensor {
    const { latent_to_init, input_generator, per_time_linear_input, steps, latentSize } = this;
    const B = z.shape[0];
    const small = input_generator ? input_generator.forward(z).tanh() : z;
    const input = per_time_linear_input
      ? per_time_linear_input.forward(small.reshape(B, steps, small.shape[1] / steps))
      : z.unsqueeze(1).expand(B, steps, latentSize);
    const states = latent_to_init?.forward(z).chunk(2, -1);
    const initial = states && { hidden: states[0].unsqueeze(0), cell: states[1].unsqueeze(0) };
    return this.decoder_rnn.forward(this.timed(input), { state: initial }).output;
  }
}
