// Memory of the js device: a handle is a typed array, and the garbage collector is the allocator.
import {
  bytesPerElement,
  describe,
  type DeviceMemory,
  type DType,
  FastWeightsError,
  type Handle,
  newArray,
  type TypedArray,
} from '../../core';
import { ThreadBound } from '../threadBound';

/** The array behind a handle; native devices have numbers for handles. */
export function arrayOf(handle: Handle): TypedArray {
  if (typeof handle === 'object') return handle;
  throw new FastWeightsError('DEVICE', 'the js device takes handles of its own memory', {
    expected: 'a typed array',
    found: describe(handle),
  });
}

export class JsMemory extends ThreadBound implements DeviceMemory {
  readonly device = 'js';

  allocate(dtype: DType, length: number): Handle {
    try {
      return newArray(dtype, length);
    } catch (cause) {
      const bytes = length * bytesPerElement(dtype);
      throw new FastWeightsError('OUT_OF_MEMORY', `the js device has no room for ${bytes} bytes more`, { cause });
    }
  }

  /** The storage drops its reference; nothing else is left to do. */
  free(): void {}

  write(handle: Handle, offset: number, data: TypedArray): void {
    arrayOf(handle).set(data, offset);
  }

  read(handle: Handle, offset: number, out: TypedArray): void {
    out.set(arrayOf(handle).subarray(offset, offset + out.length));
  }

  /** The engine sees its own arrays. */
  reportExternal(): void {}

  overhead(): { cachedBytes: number; scratchBytes: number } {
    return { cachedBytes: 0, scratchBytes: 0 };
  }

  readAsync(handle: Handle, offset: number, out: TypedArray): Promise<void> {
    this.read(handle, offset, out);
    return Promise.resolve();
  }
}
