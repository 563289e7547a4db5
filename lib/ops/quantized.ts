// Projections by weights in bfloat16 or 8 bits: how weights are packed, and the product, which has no gradients.
import {
  argumentError,
  checkChoice,
  checkOptions,
  FastWeightsError,
  formatShape,
  newArray,
  type Tensor,
} from '../core';
import { noGrad, recording } from '../autograd';
import {
  getBackend,
  numbersIn,
  placeInStep,
  QUANTIZED_PANEL,
  quantizedShape,
  WEIGHT_FORMATS,
  type WeightFormat,
} from '../backends';
import {
  checkAlike,
  checkFloat,
  checkResidual,
  checkSameDevice,
  checkShape,
  emptyLike,
  kernelsOf,
  takesBfloat16,
} from './kernel';
import { LINEAR, type LinearOptions } from './linear';
import { contiguous } from './view';

/** A weight [n, k] in fewer bits: `words` as the kernel `quantizedLinear` reads them, `scale` [n] float32 with 8 bits. */
export interface PackedWeight {
  readonly format: WeightFormat;
  /** [n, k] */
  readonly shape: readonly [number, number];
  readonly words: Tensor;
  readonly scale: Tensor | null;
}

/** From a number of a row to its next; a constant of this file, as loops over an import's would ask for it every time. */
const STEP = QUANTIZED_PANEL;

/** The largest integer; the other sign reaches as far, so that zero is in the middle. */
const MOST = 127;

/**
 * A float32 weight [n, k] packed beside it, a panel of rows per step of the generator. 8 bits: a row's numbers are the
 * nearest multiples of scale = (its largest) / 127, so each is off by half a scale at most, and 0 where all are below 1.5e-36.
 * bfloat16: the nearest, off by 2^-8 of itself at most. What is not finite, or would not be in bfloat16, is INVALID_ARGUMENT;
 * `name` is that of the weight in errors.
 */
export function* packing(
  where: string,
  weight: Tensor,
  format: WeightFormat,
  name = 'weight',
): Generator<void, PackedWeight> {
  checkChoice(where, 'weights', format, WEIGHT_FORMATS);
  checkFloat(where, name, weight);
  if (weight.dtype !== 'float32') throw argumentError('DTYPE', where, name, 'float32', weight.dtype);
  if (weight.ndim !== 2) throw argumentError('SHAPE', where, name, '[out, in]', formatShape(weight.shape));
  const [n, k] = weight.shape;
  const backend = getBackend(weight.device);
  const shape = quantizedShape(format, n, k);
  const places = Array.from({ length: QUANTIZED_PANEL }, (_, output) => placeInStep(format, output));
  const panel = newArray('int32', k * shape[2]) as Int32Array;
  const rows = new Float32Array(QUANTIZED_PANEL * k);
  const scales = new Float32Array(n);
  const source = noGrad(() => contiguous(weight));
  const made: Tensor[] = [];
  const own = (t: Tensor): Tensor => (made.push(t), t);
  let packed: PackedWeight | null = null;
  try {
    const words = own(emptyLike(weight, shape, 'int32'));
    const scale = format === 'int8' ? own(emptyLike(weight, [n], 'float32')) : null;
    for (let j = 0; j < n; j += QUANTIZED_PANEL) {
      const end = Math.min(j + QUANTIZED_PANEL, n);
      const data = rows.subarray(0, (end - j) * k);
      backend.read(source.storage.handle, source.offset + j * k, data);
      panel.fill(0);
      const numbers = numbersIn(format, panel);
      for (let row = 0; row < end - j; row++) {
        const [from, to, at] = [row * k, (row + 1) * k, places[row]];
        if (numbers instanceof Int8Array) scales[j + row] = packIntegers(data.subarray(from, to), numbers, at);
        else if (!packHalves(new Uint32Array(data.buffer, data.byteOffset + 4 * from, k), numbers, at))
          scales[j + row] = NaN;
        if (Number.isNaN(scales[j + row])) {
          const found = format === 'int8' ? 'NaN or infinity' : 'NaN, infinity or what rounds to it';
          throw argumentError('INVALID_ARGUMENT', where, name, 'finite numbers', found);
        }
      }
      backend.write(words.storage.handle, words.offset + (j / QUANTIZED_PANEL) * panel.length, panel);
      yield;
    }
    if (scale) backend.write(scale.storage.handle, scale.offset, scales);
    packed = { format, shape: [n, k], words, scale };
    return packed;
  } finally {
    // Also where nobody asks for the next panel any more.
    if (!packed) for (const t of made) t.dispose();
    if (source !== weight) source.dispose();
  }
}

/** Adding it rounds a number of a few digits to the nearest whole one. */
const ROUNDING = 1.5 * 2 ** 52;
/** The smallest scale: those below are not normal numbers of float32. */
const LEAST = 2 ** -126;

/** Packs one row from `at` on; its scale, 0 where it would be too small for a number, and NaN where it is not finite. */
function packIntegers(values: Float32Array, numbers: Int8Array, at: number): number {
  let [largest, rest] = [0, 0];
  for (let p = 0; p < values.length; p++) {
    const size = Math.abs(values[p]);
    if (size > largest) largest = size;
    rest += size - size;
  }
  if (rest !== 0) return NaN;
  const scale = Math.fround(largest / MOST);
  if (scale < LEAST) return 0;
  for (let p = 0; p < values.length; p++, at += STEP) numbers[at] = values[p] / scale + ROUNDING - ROUNDING;
  return scale;
}

/** Exponents of what is not finite. */
const EXPONENT = 0x7f80;

/** Packs one row, given by its bits, from `at` on; whether all of it is finite. */
function packHalves(bits: Uint32Array, numbers: Uint16Array, at: number): boolean {
  let finite = true;
  for (let p = 0; p < bits.length; p++, at += STEP) {
    const word = bits[p];
    const rounded = (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
    // What is NaN may have been rounded away.
    if (((word >>> 16) & EXPONENT) === EXPONENT || (rounded & EXPONENT) === EXPONENT) finite = false;
    numbers[at] = rounded;
  }
  return finite;
}

/**
 * activation(x W^T + bias) + residual for a packed weight [out, in], x [..., in], as `linear`. Sums are float32, and the bits
 * of a row depend on it alone. There are no gradients: GRAPH where one is asked for.
 */
export const quantizedLinear = takesBfloat16(
  (x: Tensor, weight: PackedWeight, bias: Tensor | null = null, options: LinearOptions = {}): Tensor => {
    const where = 'quantizedLinear';
    checkOptions(where, options, LINEAR);
    const { activation = null, residual = null } = options;
    if (activation !== null) checkChoice(where, 'activation', activation, ['silu']);
    checkFloat(where, 'x', x);
    const [n, k] = weight.shape;
    if (x.ndim === 0 || x.shape[x.ndim - 1] !== k) {
      const expected = `[..., ${k}] for weight ${formatShape(weight.shape)}`;
      throw argumentError('SHAPE', where, 'x', expected, formatShape(x.shape));
    }
    checkSameDevice(where, 'weight', weight.words, x);
    if (bias) {
      checkAlike(where, 'bias', bias, x, 'x');
      checkShape(where, 'bias', bias, [n], 'out');
    }
    const shape = [...x.shape.slice(0, -1), n];
    checkResidual(where, residual, x, shape);
    if (recording([x, bias, residual])) refuseGradients(weight.format);
    const y = emptyLike(x, shape);
    kernelsOf(x).quantizedLinear({
      x: contiguous(x),
      weight: weight.words,
      scale: weight.scale,
      bias: bias && contiguous(bias),
      residual: residual && contiguous(residual),
      y,
      rows: n === 0 ? 0 : y.size / n,
      n,
      k,
      activation: Number(activation === 'silu'),
      format: WEIGHT_FORMATS.indexOf(weight.format),
    });
    return y;
  },
);

function refuseGradients(format: WeightFormat): never {
  const remedy = 'compute inside noGrad, or train the model before it is quantised';
  throw new FastWeightsError('GRAPH', `quantizedLinear: weights in ${format} have no gradients; ${remedy}`, {
    argument: 'x',
    expected: 'tensors that require no gradient',
    found: 'one that does',
  });
}
