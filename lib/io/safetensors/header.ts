// The header of a safetensors file: 8 bytes of length, that much JSON, then the tensors' bytes without gaps.
import { sizeOf } from '../../core';
import { formatError } from '../failure';
import { decodeUtf8, isJsonObject, parseStrictJson, type Json } from '../json';

/** Bytes per element of the element types that can be read. */
const FILE_DTYPE_BYTES = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  F8_E4M3: 1,
  F8_E5M2: 1,
  I64: 8,
  U64: 8,
  I32: 4,
  U32: 4,
  I16: 2,
  U16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
} as const;

/** Element types of a file that can be read, as its header spells them. */
export type FileDType = keyof typeof FILE_DTYPE_BYTES;

export function fileDTypeBytes(dtype: FileDType): number {
  return FILE_DTYPE_BYTES[dtype];
}

/** The format's own bound on the JSON. */
export const MAX_HEADER_BYTES = 100_000_000;

/** Where one tensor lies; `begin` and `end` count from the first byte after the JSON. */
export interface TensorInfo {
  dtype: FileDType;
  shape: number[];
  begin: number;
  end: number;
}

export interface Header {
  metadata: Record<string, string>;
  tensors: Map<string, TensorInfo>;
}

/** The length of the JSON from the first 8 bytes of a file of `fileBytes` bytes. */
export function headerLength(path: string, prefix: Uint8Array, fileBytes: number): number {
  if (fileBytes < 8) throw formatError(`${path}: the file`, 'at least 8 bytes long', `${fileBytes}`);
  const length = new DataView(prefix.buffer, prefix.byteOffset, 8).getBigUint64(0, true);
  const most = Math.min(MAX_HEADER_BYTES, fileBytes - 8);
  if (length > BigInt(most)) throw formatError(`${path}: the header length`, `at most ${most}`, `${length}`);
  return Number(length);
}

/** Parses the JSON and holds it against `dataBytes`, the number of bytes after it. */
export function parseHeader(path: string, bytes: Uint8Array, dataBytes: number): Header {
  const root = parseStrictJson(decodeUtf8(`${path}: the header`, bytes, true), `${path}: header`);
  if (bytes[0] !== 0x7b || !isJsonObject(root))
    throw formatError(`${path}: the header`, "an object ('{' first)", 'another value');
  let metadata: Record<string, string> = {};
  const tensors = new Map<string, TensorInfo>();
  for (const [name, value] of Object.entries(root)) {
    if (name === '__metadata__') metadata = parseMetadata(path, value);
    else tensors.set(name, parseTensorInfo(`${path}: entry ${JSON.stringify(name)}`, value, dataBytes));
  }
  checkCover(path, tensors, dataBytes);
  return { metadata, tensors };
}

/** null stands for none, as in the reference implementation. */
function parseMetadata(path: string, value: Json): Record<string, string> {
  if (value === null) return {};
  if (isJsonObject(value) && Object.values(value).every((v) => typeof v === 'string')) {
    return value as Record<string, string>;
  }
  throw formatError(`${path}: __metadata__`, 'an object of strings', summary(value));
}

function parseTensorInfo(where: string, value: Json, dataBytes: number): TensorInfo {
  if (!isJsonObject(value)) throw formatError(where, 'an object', summary(value));
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== 'string' || !isFileDType(dtype)) {
    throw formatError(`${where}: dtype`, `one of ${Object.keys(FILE_DTYPE_BYTES).join(' ')}`, summary(dtype));
  }
  if (!isSizes(shape) || !Number.isSafeInteger(product(shape) * 8)) {
    throw formatError(`${where}: shape`, 'whole numbers >= 0 of a product below 2^50', summary(shape));
  }
  if (!isSizes(offsets) || offsets.length !== 2 || offsets[0] > offsets[1] || offsets[1] > dataBytes) {
    throw formatError(`${where}: data_offsets`, `[begin, end] within ${dataBytes} bytes`, summary(offsets));
  }
  const [begin, end] = offsets;
  const needed = sizeOf(shape) * fileDTypeBytes(dtype);
  if (end - begin !== needed) throw formatError(`${where}: data_offsets`, `${needed} bytes apart`, `${end - begin}`);
  return { dtype, shape, begin, end };
}

function isFileDType(dtype: string): dtype is FileDType {
  return Object.hasOwn(FILE_DTYPE_BYTES, dtype);
}

function isSizes(value: Json | undefined): value is number[] {
  return Array.isArray(value) && value.every((v) => Number.isSafeInteger(v) && (v as number) >= 0);
}

/** NaN as soon as a partial product is no safe integer, so that a trailing 0 hides no overflow. */
function product(shape: readonly number[]): number {
  return shape.reduce((size, d) => (Number.isSafeInteger(size * d) ? size * d : NaN), 1);
}

function summary(value: Json | undefined): string {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length <= 60 ? text : `${text.slice(0, 60)}...`;
}

/** Every byte after the JSON belongs to exactly one tensor. */
function checkCover(path: string, tensors: Map<string, TensorInfo>, dataBytes: number): void {
  let covered = 0;
  const inOrder = [...tensors].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  for (const [name, { begin, end }] of inOrder) {
    if (begin !== covered) {
      const problem = begin < covered ? 'overlaps the one before' : 'leaves a hole before it';
      const where = `${path}: entry ${JSON.stringify(name)}: data_offsets`;
      throw formatError(where, `from ${covered} on`, `${begin} (it ${problem})`);
    }
    covered = end;
  }
  if (covered !== dataBytes)
    throw formatError(`${path}: the file`, `${covered} bytes after its header`, `${dataBytes}`);
}

/**
 * The bytes before the tensors: length and JSON, padded with spaces so that the tensors start on 8 bytes, and not before
 * byte `least`, a multiple of 8.
 */
export function formatHeader(
  tensors: Iterable<[string, TensorInfo]>,
  metadata: Record<string, string>,
  least = 0,
): Uint8Array {
  const members = Object.keys(metadata).length > 0 ? [`"__metadata__":${JSON.stringify(metadata)}`] : [];
  for (const [name, { dtype, shape, begin, end }] of tensors) {
    members.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [begin, end] })}`);
  }
  const json = new TextEncoder().encode(`{${members.join(',')}}`);
  const length = Math.max(Math.ceil(json.length / 8) * 8, least - 8);
  const header = new Uint8Array(8 + length).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(length), true);
  header.set(json, 8);
  return header;
}
