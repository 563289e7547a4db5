// Tensors that are made of those of a file: 8-bit floats times their scales, and parts of several.
import {
  argumentError,
  type DType,
  encode,
  formatShape,
  isFloat,
  newArray,
  sameShape,
  sizeOf,
  type TypedArray,
} from '../../core';
import { type Piece, TensorSource } from './source';

/** How many elements one scale stands for, along each of the last two dimensions. */
export type Block = readonly [rows: number, columns: number];

/** A tensor times its scales. They are few, and read whole; the tensor is read piece by piece. */
class Scaled extends TensorSource {
  constructor(
    private readonly source: TensorSource,
    private readonly scales: TensorSource,
    /** Blocks end with the rows of a matrix: the tensor is a stack of those. */
    private readonly grid: { rows: number; columns: number; block: Block },
  ) {
    super(source.name, source.dtype, source.shape);
  }

  async *pieces(dtype: DType, elements = this.pieceElements): AsyncGenerator<Piece, undefined> {
    const scales = (await this.scales.read('float64')) as Float64Array;
    const { rows, columns, block } = this.grid;
    const [down, across] = [Math.ceil(rows / block[0]), Math.ceil(columns / block[1])];
    for await (const { at, data } of this.source.pieces('float64', elements)) {
      for (let i = 0; i < data.length;) {
        const row = Math.floor((at + i) / columns);
        const line = Math.floor(row / rows) * down + Math.floor((row % rows) / block[0]);
        const end = Math.min(data.length, (row + 1) * columns - at);
        for (let column = (at + i) % columns; i < end; i++, column++) {
          data[i] *= scales[line * across + Math.floor(column / block[1])];
        }
      }
      yield { at, data: dtype === 'float64' ? data : encode(dtype, data) };
    }
  }
}

/**
 * A tensor [..., rows, columns] times its scales: one of all of it ([] or [1]), one of each row ([rows, 1] or [rows]), or one of
 * each block of so many rows and columns, [..., ceil(rows / r), ceil(columns / c)].
 */
export function scaledSource(source: TensorSource, scales: TensorSource, block: Block): TensorSource {
  const { shape } = source;
  const columns = shape[shape.length - 1] ?? 1;
  const rows = shape[shape.length - 2] ?? 1;
  const lead = shape.slice(0, -2);
  const all = sizeOf(lead) * rows;
  if (isFloat(scales.nativeDType)) {
    if (scales.size === 1) return new Scaled(source, scales, { rows: all, columns, block: [all, columns] });
    for (const [r, c] of [block, [1, columns]]) {
      const grid = [...lead, Math.ceil(rows / r), Math.ceil(columns / c)];
      const flat = c === columns && lead.length === 0 && sameShape(scales.shape, [rows]);
      if (flat || sameShape(scales.shape, grid)) return new Scaled(source, scales, { rows, columns, block: [r, c] });
    }
  }
  const expected = `floats that scale ${formatShape(shape)} in blocks of ${formatShape(block)}`;
  throw argumentError('FORMAT', scales.name, 'shape', expected, formatShape(scales.shape));
}

/** Elements of some tensors one after the other, in another shape. They are read whole: it is for small ones. */
class Part extends TensorSource {
  constructor(
    name: string,
    private readonly sources: readonly TensorSource[],
    private readonly offset: number,
    shape: readonly number[],
  ) {
    super(name, sources[0].dtype, shape);
  }

  async *pieces(dtype: DType, elements = this.pieceElements): AsyncGenerator<Piece, undefined> {
    const all = newArray(
      dtype,
      this.sources.reduce((sum, { size }) => sum + size, 0),
    );
    let end = 0;
    for (const source of this.sources) {
      all.set(await source.read(dtype), end);
      end += source.size;
    }
    const data: TypedArray = all.slice(this.offset, this.offset + this.size);
    for (let at = 0; at < this.size; at += elements) yield { at, data: data.slice(at, at + elements) };
  }
}

/** `shape` elements of the tensors in a row, from `offset` on. */
export function partOfSources(
  name: string,
  sources: readonly TensorSource[],
  offset: number,
  shape: readonly number[],
): TensorSource {
  return new Part(name, sources, offset, shape);
}
