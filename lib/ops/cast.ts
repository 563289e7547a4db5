// Tensors in another dtype or on another device.
import { type Device, type DType, DTYPES, isFloat, newArray, type Tensor } from '../core';
import { type Backend, getBackend } from '../backends';
import { record } from '../autograd';
import { checkTensor, dtypeCodes, emptyLike, emptyOn, kernelsOf } from './kernel';
import { contiguous } from './view';

function isDType(target: Device | DType): target is DType {
  return (DTYPES as readonly string[]).includes(target);
}

/** Overwrites `y` with the elements of `x` in the dtype of `y`; both contiguous, off the tape. */
export function castInto(x: Tensor, y: Tensor): void {
  kernelsOf(x).cast({ x, y, n: x.size, from: dtypeCodes[x.dtype], to: dtypeCodes[y.dtype] });
}

/**
 * To another dtype or device; the tensor itself when it is there already. From card to card it is queued like any operator;
 * other moves between devices block.
 */
export function to(x: Tensor, target: Device | DType): Tensor {
  checkTensor('to', 'x', x);
  if (isDType(target)) {
    if (target === x.dtype) return x;
    const source = contiguous(x);
    const y = emptyLike(x, x.shape, target);
    castInto(source, y);
    const from = x.dtype;
    if (isFloat(target)) record('to', [x], [y], [], ([g]) => [g && to(g, from)], 'composed');
    return y;
  }
  if (target === x.device) return x;
  const backend = getBackend(target);
  const from = x.device;
  if (backend.device === from) return x;
  const y = emptyOn(backend, x.shape, x.dtype);
  moveElements(contiguous(x), y, backend);
  record('to', [x], [y], [], ([g]) => [g && to(g, from)], 'composed');
  return y;
}

function moveElements({ storage, offset, size, dtype }: Tensor, y: Tensor, backend: Backend): void {
  const bytes = storage.elementBytes;
  if (backend.copyFrom?.(y.storage, storage, offset * bytes, size * bytes)) return;
  const raw = newArray(dtype, size);
  storage.memory.read(storage.handle, offset, raw);
  backend.write(y.storage.handle, 0, raw);
}

/** To a dtype on a device; float64 exists on `js` only, so that the order depends on where it goes. */
export function convert(x: Tensor, device: Device, dtype: DType): Tensor {
  return dtype === 'float64' ? to(to(x, device), dtype) : to(to(x, dtype), device);
}
