// Projections with what follows them, and the gated feed-forward.
import type { KernelArguments } from '../table';
import { multiply, rowMajor, transposed } from './matmul';
import { silu, siluDerivative } from './special';
import { floats, maybe } from './view';

/** x W^T for x [rows, k], W [n, k], row-major. */
export function linear(args: KernelArguments<'linear'>): void {
  const { rows, n, k, activation } = args;
  const [y, bias, residual, preactivation] = [
    floats(args.y),
    maybe(args.bias),
    maybe(args.residual),
    maybe(args.preactivation),
  ];
  const weight = transposed(rowMajor(floats(args.weight), k));
  multiply(rowMajor(floats(args.x), k), weight, rowMajor(y, n), [rows, n, k]);
  for (let i = 0; i < rows * n; i++) {
    // -0 changes nothing, not even the sign of a zero.
    const z = y[i] + (bias?.[i % n] ?? -0);
    if (preactivation) preactivation[i] = z;
    y[i] = (activation === 0 ? z : silu(z)) + (residual?.[i] ?? -0);
  }
}

export function feedForward(args: KernelArguments<'feedForward'>): void {
  const { rows, d, hidden } = args;
  const size = rows * hidden;
  const x = rowMajor(floats(args.x), d);
  const y = floats(args.y);
  // Rounded also where nobody keeps them: a result has the same bits with and without a backward pass to come.
  const gate = maybe(args.gate) ?? like(y, size);
  const up = maybe(args.up) ?? like(y, size);
  const activated = new Float64Array(size);
  multiply(x, transposed(rowMajor(floats(args.gateWeight), d)), rowMajor(gate, hidden), [rows, hidden, d]);
  multiply(x, transposed(rowMajor(floats(args.upWeight), d)), rowMajor(up, hidden), [rows, hidden, d]);
  for (let i = 0; i < size; i++) activated[i] = silu(gate[i]) * up[i];
  const down = transposed(rowMajor(floats(args.downWeight), hidden));
  if (args.residual) y.set(floats(args.residual).subarray(0, rows * d));
  multiply(rowMajor(activated, hidden), down, rowMajor(y, d), [rows, d, hidden], {
    accumulate: args.residual !== null,
  });
}

/** Room for n numbers of the precision of `array`. */
function like(array: Float32Array | Float64Array, n: number): Float32Array | Float64Array {
  return array instanceof Float32Array ? new Float32Array(n) : new Float64Array(n);
}

export function feedForwardBackward(args: KernelArguments<'feedForwardBackward'>): void {
  const { rows, d, hidden } = args;
  const [gate, up] = [floats(args.gate), floats(args.up)];
  const [activated, dgate, dup] = [floats(args.activated), floats(args.dgate), floats(args.dup)];
  const down = rowMajor(floats(args.downWeight), hidden);
  multiply(rowMajor(floats(args.dy), d), down, rowMajor(activated, hidden), [rows, hidden, d]);
  for (let i = 0; i < rows * hidden; i++) {
    const dactivated = activated[i];
    dgate[i] = dactivated * up[i] * siluDerivative(gate[i]);
    dup[i] = dactivated * silu(gate[i]);
    activated[i] = silu(gate[i]) * up[i];
  }
  if (!args.dx) return;
  const dx = rowMajor(floats(args.dx), d);
  const accumulate = args.accumulate !== 0;
  multiply(rowMajor(dgate, hidden), rowMajor(floats(args.gateWeight), d), dx, [rows, d, hidden], { accumulate });
  multiply(rowMajor(dup, hidden), rowMajor(floats(args.upWeight), d), dx, [rows, d, hidden], { accumulate: true });
}
