// Memory of the js device: a handle is a typed array, and the garbage collector is the allocator.
import { newArray, type DeviceMemory, type DType, type Handle, type TypedArray } from '../../core';
import { ThreadBound } from '../threadBound';

export class JsMemory extends ThreadBound implements DeviceMemory {
  readonly device = 'js';

  allocate(dtype: DType, length: number): Handle {
    return newArray(dtype, length);
  }

  /** The storage drops its reference; nothing else is left to do. */
  free(): void {}

  write(handle: Handle, offset: number, data: TypedArray): void {
    (handle as TypedArray).set(data, offset);
  }

  read(handle: Handle, offset: number, out: TypedArray): void {
    out.set((handle as TypedArray).subarray(offset, offset + out.length));
  }

  readAsync(handle: Handle, offset: number, out: TypedArray): Promise<void> {
    this.read(handle, offset, out);
    return Promise.resolve();
  }
}
