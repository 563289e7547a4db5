// From a kernel's arguments to the doubles of the command array; native/binding/arguments.h reads them back.
import { compileFunction } from 'node:vm';
import { contiguousStrides, describe, FastWeightsError, formatShape, type Tensor } from '../core';
import { KERNELS, MAX_DIMS, MAX_LIST, type FieldKind, type KernelName } from './table';

/** Writes the arguments of one kernel. */
export type Encoder = (args: Readonly<Record<string, unknown>>) => void;

/** Doubles that an argument takes. */
const BUFFER = 3;
const HEADS = BUFFER + 3;
const DIMS = 1 + MAX_DIMS;
const PLACES: Record<Exclude<FieldKind, 'list'>, number> = {
  in: BUFFER,
  'in?': BUFFER,
  out: BUFFER,
  'out?': BUFFER,
  inout: BUFFER,
  'inout?': BUFFER,
  heads: HEADS,
  'heads?': HEADS,
  dims: DIMS,
  int: 1,
  float: 1,
};

/** [id, byte offset, dtype] */
function buffer(command: Float64Array, at: number, t: Tensor | null): void {
  if (t === null) {
    command[at] = 0;
    command[at + 1] = 0;
    command[at + 2] = 0;
  } else {
    const { storage } = t;
    command[at] = storage.handle as number;
    command[at + 1] = t.offset * storage.elementBytes;
    command[at + 2] = storage.dtypeCode;
  }
}

/** Elements of bfloat16 are half of what most kernels of the CPU expect. */
function requireWide(t: Tensor | null): void {
  if (t !== null && t.storage.dtype === 'bfloat16') refuseBfloat16();
}

function wideBuffer(command: Float64Array, at: number, t: Tensor | null): void {
  requireWide(t);
  buffer(command, at, t);
}

function refuseBfloat16(): never {
  throw new FastWeightsError('DTYPE', 'kernels of the cpu device compute in float32, got bfloat16', {
    expected: 'float32',
    found: 'bfloat16',
  });
}

/** [id, byte offset, dtype, token stride, head stride, heads]; `dim` is where the heads stand. */
function headsAt(command: Float64Array, at: number, t: Tensor | null, dim: 1 | 2): void {
  buffer(command, at, t);
  if (t === null) return;
  const { shape, strides } = t;
  if (!isOneRow(shape, strides, dim)) refuseStrides(shape, strides);
  command[at + BUFFER] = strides[dim - 1];
  command[at + BUFFER + 1] = strides[dim];
  command[at + BUFFER + 2] = shape[dim];
}

/** Of [B, T, H, D] or [B, T, H]. */
function heads(command: Float64Array, at: number, t: Tensor | null): void {
  headsAt(command, at, t, 2);
}

/** Of [B, H, D] or [B, H], in a kernel for one step. */
function stepHeads(command: Float64Array, at: number, t: Tensor | null): void {
  headsAt(command, at, t, 1);
}

function wideHeads(command: Float64Array, at: number, t: Tensor | null): void {
  requireWide(t);
  headsAt(command, at, t, 2);
}

function wideStepHeads(command: Float64Array, at: number, t: Tensor | null): void {
  requireWide(t);
  headsAt(command, at, t, 1);
}

/** The kernel walks all tokens of all batches in one stride, and the last dimension in steps of one. */
function isOneRow(shape: readonly number[], strides: readonly number[], dim: 1 | 2): boolean {
  const batches = dim === 1 || shape[0] <= 1 || shape[1] === 0 || strides[0] === shape[1] * strides[1];
  return batches && (shape.length === dim + 1 || shape[dim + 1] <= 1 || strides[dim + 1] === 1);
}

function refuseStrides(shape: readonly number[], strides: readonly number[]): never {
  const found = formatShape(strides);
  throw new FastWeightsError('BACKEND', `strides ${found} of shape ${formatShape(shape)} are not one row of tokens`, {
    expected: formatShape(contiguousStrides(shape)),
    found,
  });
}

/** [count, then id, byte offset, dtype and elements of each]; returns the place behind it. */
function list(command: Float64Array, at: number, tensors: readonly Tensor[]): number {
  if (tensors.length > MAX_LIST) refuseLength(tensors.length);
  command[at++] = tensors.length;
  for (const t of tensors) {
    buffer(command, at, t);
    command[at + BUFFER] = t.size;
    at += BUFFER + 1;
  }
  return at;
}

function wideList(command: Float64Array, at: number, tensors: readonly Tensor[]): number {
  tensors.forEach(requireWide);
  return list(command, at, tensors);
}

function refuseLength(length: number): never {
  throw new FastWeightsError('BACKEND', `a kernel takes lists of at most ${MAX_LIST} tensors, got ${length}`, {
    expected: `at most ${MAX_LIST}`,
    found: String(length),
  });
}

/** [rank, MAX_DIMS numbers] */
function dims(command: Float64Array, at: number, sizes: readonly number[]): void {
  command[at] = sizes.length;
  for (let i = 0; i < MAX_DIMS; i++) command[at + 1 + i] = i < sizes.length ? sizes[i] : 0;
}

function number(command: Float64Array, at: number, value: number): void {
  if (typeof value !== 'number') refuseValue(value);
  command[at] = value;
}

function refuseValue(value: unknown): never {
  const found = describe(value);
  throw new FastWeightsError('BACKEND', `a number is needed, got ${found}`, { expected: 'a number', found });
}

const WRITERS = { buffer, wideBuffer, heads, wideHeads, stepHeads, wideStepHeads, list, wideList, dims, number };

/** Kernels that know elements of 16 bits on every device. */
const NARROW_KERNELS: readonly KernelName[] = ['fill', 'cast', 'copy'];

function writerOf(kernel: KernelName, kind: FieldKind, narrow: boolean): keyof typeof WRITERS {
  switch (kind) {
    case 'heads':
    case 'heads?':
      return kernel === 'recurrenceStep' ? (narrow ? 'stepHeads' : 'wideStepHeads') : narrow ? 'heads' : 'wideHeads';
    case 'list':
      return narrow ? 'list' : 'wideList';
    case 'dims':
      return kind;
    case 'int':
    case 'float':
      return 'number';
    default:
      return narrow || NARROW_KERNELS.includes(kernel) ? 'buffer' : 'wideBuffer';
  }
}

/**
 * A function of its own for each kernel, compiled from the table: straight-line code in which every property is read
 * at one place. A loop over field names that all kernels share would look every property up by name, which takes
 * longer than all the rest of a small call. Unless the device is `narrow`, it refuses bfloat16.
 */
export function compileEncoder(kernel: KernelName, command: Float64Array, narrow = false): Encoder {
  // Places are known beforehand until the first list.
  let [base, at] = ['', 0];
  const lines: string[] = ['let end;'];
  for (const [field, kind] of Object.entries<FieldKind>(KERNELS[kernel])) {
    const call = `${writerOf(kernel, kind, narrow)}(command, ${base}${at}, args.${field});`;
    if (kind === 'list') {
      lines.push(`end = ${call}`);
      [base, at] = ['end + ', 0];
    } else {
      lines.push(call);
      at += PLACES[kind];
    }
  }
  // Unlike `new Function`, this works where node runs with --disallow-code-generation-from-strings.
  const make = compileFunction(`return (args) => {\n${lines.join('\n')}\n};`, ['command', ...Object.keys(WRITERS)], {
    filename: `fast-weights/encode-${kernel}`,
  });
  return (make as (...values: unknown[]) => Encoder)(command, ...Object.values(WRITERS));
}
