// Projections by quantised weights: a panel becomes floats, and is multiplied as others are.
import { numbersIn, placeInStep, QUANTIZED_PANEL } from '../quantizedLayout';
import { type KernelArguments, WEIGHT_FORMATS } from '../table';
import { multiply, rowMajor } from './matmul';
import { silu } from './special';
import { floats, ints, maybe } from './view';

/** A constant of this file, as loops over an import's would ask for it every time. */
const WIDTH = QUANTIZED_PANEL;

export function quantizedLinear(args: KernelArguments<'quantizedLinear'>): void {
  const { rows, n, k, activation } = args;
  const format = WEIGHT_FORMATS[args.format];
  const [x, y, numbers] = [floats(args.x), floats(args.y), numbersIn(format, ints(args.weight))];
  const [scale, bias, residual] = [maybe(args.scale), maybe(args.bias), maybe(args.residual)];
  const panel = new Float32Array(k * WIDTH);
  const bits = new Uint32Array(panel.buffer);
  const places = Array.from({ length: WIDTH }, (_, output) => placeInStep(format, output));
  for (let j = 0; j < n; j += WIDTH) {
    for (let p = 0, at = j * k; p < k; p++, at += WIDTH) {
      const to = p * WIDTH;
      for (let i = 0; i < WIDTH; i++) {
        if (format === 'int8') panel[to + i] = numbers[at + places[i]];
        else bits[to + i] = numbers[at + places[i]] << 16;
      }
    }
    const width = Math.min(WIDTH, n - j);
    multiply(rowMajor(x, k), rowMajor(panel, WIDTH), { data: y, at: j, row: n, column: 1 }, [rows, width, k]);
  }
  for (let i = 0; i < rows * n; i++) {
    // -0 changes nothing, not even the sign of a zero.
    const z = y[i] * (scale?.[i % n] ?? 1) + (bias?.[i % n] ?? -0);
    y[i] = (activation === 0 ? z : silu(z)) + (residual?.[i] ?? -0);
  }
}
