// A tensor that is still to be read, wherever it comes from.
import { checkList, checkString, type DType, isFloat, newArray, sameShape, sizeOf, type TypedArray } from '../../core';
import { nativeDType } from './convert';
import { fileDTypeBytes, type FileDType } from './header';

/** Bytes in flight of a tensor that is read or written, so that memory does not grow with its size. */
export const PIECE_BYTES = 16 * 1024 * 1024;

/** Elements of a tensor in order. */
export interface Piece {
  /** The position of the first one in the tensor. */
  at: number;
  /** A fresh array. */
  data: TypedArray;
}

/** A tensor of a file, or one that is made of such. Nothing is held open between reads. */
export abstract class TensorSource {
  /** Number of elements, the product of `shape`. */
  readonly size: number;

  constructor(
    /** Its key in the header. */
    readonly name: string,
    /** As it is stored; `nativeDType` is what it becomes. */
    readonly dtype: FileDType,
    /** Row-major; [] for a single number. */
    readonly shape: readonly number[],
  ) {
    checkString('TensorSource', 'name', name);
    fileDTypeBytes(dtype);
    checkList('TensorSource', 'shape', shape, 'a list of sizes');
    this.size = sizeOf(shape);
  }

  /** The library's dtype that `read` gives unless asked for another. */
  get nativeDType(): DType {
    return nativeDType(this.dtype);
  }

  /** Bytes that it takes in its file. */
  get bytes(): number {
    return this.size * fileDTypeBytes(this.dtype);
  }

  /** The elements in order, piece by piece of so many elements, in the storage format of `dtype`. */
  abstract pieces(dtype: DType, elements?: number): AsyncGenerator<Piece, undefined>;

  /** Elements of a piece unless asked for another number; narrow ones become wider when they are read. */
  protected get pieceElements(): number {
    return PIECE_BYTES / Math.max(4, fileDTypeBytes(this.dtype));
  }

  /** The elements in the storage format of `dtype`: any float as any float, integers as int32, bool as either. */
  async read(dtype: DType = this.nativeDType): Promise<TypedArray> {
    let out: TypedArray | undefined;
    for await (const { at, data } of this.pieces(dtype)) {
      if (data.length === this.size) return data;
      out ??= newArray(dtype, this.size);
      out.set(data, at);
    }
    return out ?? newArray(dtype, 0);
  }

  /** Whether another tensor holds the same values, floats in whatever dtype; NaN equals NaN. */
  async equals(other: TensorSource): Promise<boolean> {
    const floats = isFloat(this.nativeDType);
    if (!sameShape(this.shape, other.shape) || floats !== isFloat(other.nativeDType)) return false;
    const dtype = floats ? 'float64' : 'int32';
    const elements = PIECE_BYTES / 8;
    const pieces = other.pieces(dtype, elements);
    try {
      for await (const { data } of this.pieces(dtype, elements)) {
        const { data: others } = (await pieces.next()).value!;
        if (!data.every((x, i) => x === others[i] || (Number.isNaN(x) && Number.isNaN(others[i])))) return false;
      }
      return true;
    } finally {
      await pieces.return(undefined);
    }
  }
}
