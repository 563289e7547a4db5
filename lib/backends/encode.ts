// From a kernel's arguments to the doubles of the command array; native/binding/arguments.h reads them back.
import { compile } from '../platform';
import {
  contiguousStrides,
  describe,
  type DeviceMemory,
  FastWeightsError,
  formatShape,
  type Shape,
  type Storage,
  tokenStride,
  type Tensor,
} from '../core';
import { KERNELS, MAX_DIMS, MAX_LIST, type FieldKind, type KernelName } from './table';

/** Writes the arguments of one kernel; returns how many doubles they take. */
export type Encoder = (args: Readonly<Record<string, unknown>>) => number;

/** Is told of the memory of arguments, and where in the command they stand. */
export interface Noting {
  place(storage: Storage, at: number): void;
}

/** What records calls. */
let noting: Noting | null = null;

/** Tells it of the memory of every argument from now on, until null is given. */
export function noteMemory(by: Noting | null): void {
  noting = by;
}

/** Doubles that an argument takes. */
const BUFFER = 4;
const HEADS = BUFFER + 3;
const DIMS = 1 + MAX_DIMS;
const PLACES: Record<Exclude<FieldKind, 'list' | 'inoutList'>, number> = {
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

/** [id, byte offset, dtype, elements that the tensor reaches over]; absent ones are zeros. */
function place(command: Float64Array, at: number, t: Tensor | null, memory: DeviceMemory): void {
  if (t === null) {
    command[at] = 0;
    command[at + 1] = 0;
    command[at + 2] = 0;
    command[at + 3] = 0;
  } else {
    const { storage } = t;
    if (storage.memory !== memory) refuseDevice(t, memory);
    noting?.place(storage, at);
    command[at] = storage.handle as number;
    command[at + 1] = t.offset * storage.elementBytes;
    command[at + 2] = storage.dtypeCode;
    command[at + 3] = t.reach;
  }
}

/** A contiguous operand. */
function buffer(command: Float64Array, at: number, t: Tensor | null, memory: DeviceMemory): void {
  if (t !== null && !t.isContiguous) refuseGaps(t.shape, t.strides);
  place(command, at, t, memory);
}

function refuseGaps(shape: Shape, strides: Shape): never {
  const found = formatShape(strides);
  throw new FastWeightsError('BACKEND', `strides ${found} of shape ${formatShape(shape)} are not contiguous`, {
    expected: formatShape(contiguousStrides(shape)),
    found,
  });
}

function refuseDevice(t: Tensor, { device }: DeviceMemory): never {
  throw new FastWeightsError(
    'DEVICE',
    `a kernel of the ${device} device takes tensors on it, got one on '${t.device}'`,
    {
      expected: `on '${device}'`,
      found: `'${t.device}'`,
    },
  );
}

/** Elements of bfloat16 are half of what most kernels of the CPU expect. */
function refuseBfloat16In(t: Tensor | null): void {
  if (t !== null && t.storage.dtype === 'bfloat16') refuseBfloat16();
}

function floatBuffer(command: Float64Array, at: number, t: Tensor | null, memory: DeviceMemory): void {
  refuseBfloat16In(t);
  buffer(command, at, t, memory);
}

/** An operand whose strides are arguments of their own. */
function floatPlace(command: Float64Array, at: number, t: Tensor, memory: DeviceMemory): void {
  refuseBfloat16In(t);
  place(command, at, t, memory);
}

function refuseBfloat16(): never {
  throw new FastWeightsError('DTYPE', 'kernels of the cpu device compute in float32, got bfloat16', {
    expected: 'float32',
    found: 'bfloat16',
  });
}

/** [buffer, token stride, head stride, heads]; `dim` is where the heads stand. */
function headsAt(command: Float64Array, at: number, t: Tensor | null, memory: DeviceMemory, dim: 1 | 2): void {
  place(command, at, t, memory);
  // Where nothing is read, no stride is wrong.
  if (t === null || t.size === 0) {
    command[at + BUFFER] = 0;
    command[at + BUFFER + 1] = 0;
    command[at + BUFFER + 2] = 0;
    return;
  }
  const { shape, strides } = t;
  const token = dim === 1 ? strides[0] : tokenStride(shape, strides);
  if (token === undefined || !isDense(shape, strides, dim)) refuseStrides(shape, strides);
  command[at + BUFFER] = token;
  command[at + BUFFER + 1] = strides[dim];
  command[at + BUFFER + 2] = shape[dim];
}

/** Of [B, T, H, D] or [B, T, H]. */
function heads(command: Float64Array, at: number, t: Tensor | null, memory: DeviceMemory): void {
  headsAt(command, at, t, memory, 2);
}

/** Of [B, H, D] or [B, H], in a kernel for one step. */
function stepHeads(command: Float64Array, at: number, t: Tensor | null, memory: DeviceMemory): void {
  headsAt(command, at, t, memory, 1);
}

function floatHeads(command: Float64Array, at: number, t: Tensor | null, memory: DeviceMemory): void {
  refuseBfloat16In(t);
  headsAt(command, at, t, memory, 2);
}

function floatStepHeads(command: Float64Array, at: number, t: Tensor | null, memory: DeviceMemory): void {
  refuseBfloat16In(t);
  headsAt(command, at, t, memory, 1);
}

/** Whether the dimension after the heads, if there is one, is walked in steps of one. */
function isDense(shape: readonly number[], strides: readonly number[], dim: 1 | 2): boolean {
  return shape.length === dim + 1 || shape[dim + 1] <= 1 || strides[dim + 1] === 1;
}

function refuseStrides(shape: readonly number[], strides: readonly number[]): never {
  const found = formatShape(strides);
  throw new FastWeightsError('BACKEND', `strides ${found} of shape ${formatShape(shape)} are not one row of tokens`, {
    expected: formatShape(contiguousStrides(shape)),
    found,
  });
}

/** [count, then each buffer]; returns the place behind it. */
function list(command: Float64Array, at: number, tensors: readonly Tensor[], memory: DeviceMemory): number {
  if (tensors.length > MAX_LIST) refuseLength(tensors.length);
  command[at++] = tensors.length;
  for (const t of tensors) {
    buffer(command, at, t, memory);
    at += BUFFER;
  }
  return at;
}

function floatList(command: Float64Array, at: number, tensors: readonly Tensor[], memory: DeviceMemory): number {
  tensors.forEach(refuseBfloat16In);
  return list(command, at, tensors, memory);
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

const WRITERS = {
  buffer,
  floatBuffer,
  place,
  floatPlace,
  heads,
  floatHeads,
  stepHeads,
  floatStepHeads,
  list,
  floatList,
  dims,
  number,
};

/** Kernels that know elements of 16 bits on every device. */
const BFLOAT16_KERNELS: readonly KernelName[] = ['fill', 'cast', 'copy', 'where', 'gather'];

/** Operands whose strides are arguments of their own. */
const STRIDED: Partial<Record<KernelName, readonly string[]>> = {
  copy: ['x', 'y'],
  binary: ['a', 'b'],
  compare: ['a', 'b'],
  where: ['condition', 'a', 'b'],
  gather: ['x'],
  scatterAdd: ['x', 'y'],
  matmul: ['a', 'b', 'c'],
};

function writerOf(
  kernel: KernelName,
  field: string,
  kind: FieldKind,
  deviceTakesBfloat16: boolean,
): keyof typeof WRITERS {
  const takesBfloat16 = deviceTakesBfloat16 || BFLOAT16_KERNELS.includes(kernel);
  switch (kind) {
    case 'heads':
    case 'heads?':
      return kernel === 'recurrenceStep'
        ? takesBfloat16
          ? 'stepHeads'
          : 'floatStepHeads'
        : takesBfloat16
          ? 'heads'
          : 'floatHeads';
    case 'list':
    case 'inoutList':
      return takesBfloat16 ? 'list' : 'floatList';
    case 'dims':
      return kind;
    case 'int':
    case 'float':
      return 'number';
    default:
      if (STRIDED[kernel]?.includes(field)) return takesBfloat16 ? 'place' : 'floatPlace';
      return takesBfloat16 ? 'buffer' : 'floatBuffer';
  }
}

/**
 * A function of its own for each kernel, compiled from the table: straight-line code in which every property is read
 * at one place. A loop over field names that all kernels share would look every property up by name, which takes
 * longer than all the rest of a small call. It takes tensors of `memory` only and, unless the device is `takesBfloat16`, refuses
 * bfloat16.
 */
export function compileEncoder(
  kernel: KernelName,
  command: Float64Array,
  memory: DeviceMemory,
  takesBfloat16 = false,
): Encoder {
  // Places are known beforehand until the first list.
  let [base, at] = ['', 0];
  const lines: string[] = ['let end;'];
  for (const [field, kind] of Object.entries<FieldKind>(KERNELS[kernel])) {
    const writer = writerOf(kernel, field, kind, takesBfloat16);
    const where = kind === 'dims' || kind === 'int' || kind === 'float' ? '' : ', memory';
    const call = `${writer}(command, ${base}${at}, args.${field}${where});`;
    if (kind === 'list' || kind === 'inoutList') {
      lines.push(`end = ${call}`);
      [base, at] = ['end + ', 0];
    } else {
      lines.push(call);
      at += PLACES[kind];
    }
  }
  lines.push(`return ${base}${at};`);
  const names = ['command', 'memory', ...Object.keys(WRITERS)];
  const make = compile(`return (args) => {\n${lines.join('\n')}\n};`, names, `fast-weights/encode-${kernel}`);
  return make(command, memory, ...Object.values(WRITERS)) as Encoder;
}
