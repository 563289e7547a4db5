// The Fast Weight Painter: an image channel as a fast weight matrix that rank-1 updates paint (Irie and Schmidhuber 2023;
// spec 2.7).
import { argumentError, checkChoice, checkOptions, type OptionNames, scoped, type Tensor } from '../../core';
import { cat, checkState, toFloat32, type WithFinalState, zerosBeside } from '../../ops';
import { linearAttention } from '../additive/linearAttention';
import { overTime } from '../sequential/overTime';
import { checkShapes, type Shapes, type Sizes } from '../sequential/shapes';
import { ojaRule } from './ojaRule';

/** Strokes, before their activations. */
export interface PainterInputs {
  /** Keys [B, T, C, W], one of them for the columns of a channel. */
  k: Tensor;
  /** Values [B, T, C, V], for its rows. */
  v: Tensor;
  /** Rates [B, T, C, 1], with `vectorRate` [B, T, C, V]; the rule 'sum' has none. */
  beta?: Tensor | null;
  /** Canvas [B, C, V, W] to begin on; without one the first stroke of the delta rule has the rate 1. */
  initialState?: Tensor | null;
}

/** How strokes are applied, in a sequence and one by one. */
export interface PainterStrokes {
  /** 'delta' by default. */
  updateRule?: 'delta' | 'sum' | 'oja';
  /** Keys through a softmax, in Oja's rule twice: before and after what is there is taken off. false by default. */
  softmaxKeys?: boolean;
  /** Values through tanh; false by default. */
  valueTanh?: boolean;
  /** The image through tanh; false by default. The state is the canvas before it. */
  outputTanh?: boolean;
  /** A rate for each row; false by default. */
  vectorRate?: boolean;
}

/** Options of `fastWeightPainter`. */
export interface PainterOptions<F extends boolean = boolean> extends PainterStrokes {
  /** Also return the canvas before `outputTanh`. */
  outputFinalState?: F;
}

/** Options of one stroke. */
export interface PainterStepOptions extends PainterStrokes {
  /** Canvas [B, C, V, W], which changes in place. */
  state: Tensor;
  /** Whether this is the first stroke on an empty canvas, whose rate is 1 in the delta rule; false by default. */
  first?: boolean;
}

const INPUTS: OptionNames<PainterInputs> = { k: true, v: true, beta: true, initialState: true };
const STROKES: OptionNames<PainterStrokes> = {
  updateRule: true,
  softmaxKeys: 'flag',
  valueTanh: 'flag',
  outputTanh: 'flag',
  vectorRate: 'flag',
};
const OPTIONS: OptionNames<PainterOptions> = { ...STROKES, outputFinalState: 'flag' };
const STEP: OptionNames<PainterStepOptions> = { ...STROKES, state: true, first: 'flag' };

/** Requires strokes, 'B T' or one 'B', that fit each other, the rule and the canvas. */
function check(where: string, lead: string, inputs: PainterInputs, strokes: PainterStrokes): Sizes {
  const { updateRule = 'delta', vectorRate = false } = strokes;
  checkChoice(where, 'updateRule', updateRule, ['delta', 'sum', 'oja']);
  const shapes: Shapes = {
    k: `${lead} C W`,
    v: `${lead} C V`,
    ...(updateRule !== 'sum' && { beta: `${lead} C ${vectorRate ? 'V' : '1'}` }),
    initialState: 'B C V W?',
  };
  if (updateRule === 'sum' && (inputs.beta ?? null) !== null) {
    throw argumentError('INVALID_ARGUMENT', where, 'beta', "left out with updateRule 'sum'", 'a tensor');
  }
  const sizes: Sizes = {};
  checkShapes(where, { ...inputs }, shapes, sizes);
  return sizes;
}

/** The canvas [B, C, V, W] after at least one stroke: keys and values change places, so that rows are values. */
function paint({ k, v, beta, initialState }: PainterInputs, strokes: PainterStrokes): Tensor {
  const { updateRule = 'delta', softmaxKeys = false, valueTanh = false } = strokes;
  const keys = softmaxKeys ? k.softmax() : k;
  const values = valueTanh ? v.tanh() : v;
  const [B, , C, V] = values.shape;
  // Nothing is read but the state in the end.
  const query = values.detach();
  const common = { initialState, outputFinalState: true, scale: 1 } as const;
  if (updateRule === 'sum') return linearAttention(query, values, keys, common).finalState;
  let rates = beta!.sigmoid();
  if (updateRule === 'delta') {
    if (!initialState) rates = cat([zerosBeside(rates, [B, 1, C, rates.shape[3]]).add(1), rates.slice(1, 1)], 1);
    const scalar = strokes.vectorRate !== true;
    return ojaRule(query, values, keys, { ...common, beta: scalar ? rates.squeeze(3) : rates }).finalState;
  }
  const canvas = initialState ?? zerosBeside(values, [B, C, V, keys.shape[3]]);
  const loop = { tokens: { key: keys, value: values, rate: rates }, states: { canvas }, weights: {} };
  const { states } = overTime(loop, ({ key, value, rate }, { canvas: before }) => {
    const left = key.unsqueeze(2).sub(value.unsqueeze(2).matmul(before));
    const stroke = value
      .mul(rate)
      .unsqueeze(3)
      .mul(softmaxKeys ? left.softmax() : left);
    return { output: rate, states: { canvas: before.add(stroke) } };
  });
  return states.canvas;
}

const inFloat32 = ({ k, v, beta, initialState }: PainterInputs): PainterInputs => ({
  k: toFloat32(k),
  v: toFloat32(v),
  beta: toFloat32(beta ?? null),
  initialState: toFloat32(initialState ?? null),
});

const run = scoped((inputs: PainterInputs, options: PainterOptions): { output: Tensor; finalState?: Tensor } => {
  const { B, T, C, V, W } = check('fastWeightPainter', 'B T', inputs, options);
  const computed = inFloat32(inputs);
  const canvas = T > 0 ? paint(computed, options) : (computed.initialState ?? zerosBeside(computed.v, [B, C, V, W]));
  const output = (options.outputTanh ? canvas.tanh() : canvas).to(inputs.k.dtype);
  return options.outputFinalState ? { output, finalState: canvas } : { output };
});

const stroke = scoped((inputs: PainterInputs, options: PainterStepOptions): Tensor => {
  const where = 'fastWeightPainter.step';
  const { state, first = false, ...strokes } = options;
  const sizes = check(where, 'B', inputs, strokes);
  checkShapes(where, { state }, { state: 'B C V W' }, sizes, inputs.k);
  const { B, C, V, W } = sizes;
  checkState(where, state, [B, C, V, W], 'batch, channels, rows, columns');
  const [k, v] = [inputs.k.unsqueeze(1), inputs.v.unsqueeze(1)];
  const beta = inputs.beta?.unsqueeze(1) ?? null;
  const canvas = paint(inFloat32({ k, v, beta, initialState: first ? null : state }), strokes);
  state.copy_(canvas);
  return (options.outputTanh ? canvas.tanh() : canvas).to(k.dtype);
});

type Painter = <F extends boolean = false>(
  inputs: PainterInputs,
  options?: PainterOptions<F>,
) => { output: Tensor } & WithFinalState<F>;

/**
 * Paints T strokes, W [V, W] for each channel: delta W += sigmoid(b) (v - W k) (x) k, where the first stroke on an empty
 * canvas has the rate 1; sum W += v (x) k; oja W += sigmoid(b) v (x) softmax(softmax(k) - W^T v). Output: the image
 * [B, C, V, W] after the last, rows from values and columns from keys. `step` paints one stroke, inputs without their
 * time, and returns the image after it.
 */
export const fastWeightPainter = Object.assign(
  ((inputs, options = {}) => {
    checkOptions<object>('fastWeightPainter', inputs, INPUTS);
    checkOptions<object>('fastWeightPainter', options, OPTIONS);
    return run(inputs, options);
  }) as Painter,
  {
    step(inputs: Omit<PainterInputs, 'initialState'>, options: PainterStepOptions): Tensor {
      const { initialState: _, ...known } = INPUTS;
      checkOptions<object>('fastWeightPainter.step', inputs, known);
      checkOptions<object>('fastWeightPainter.step', options, STEP);
      return stroke(inputs, options);
    },
  },
);
