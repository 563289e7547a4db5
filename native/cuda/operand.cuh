// Elements of the kernel table's operands on the device, as float32 whatever their storage is.
#pragma once
#include "tile.cuh"

namespace fw::cuda {

// The storage format is the same for all threads, so the branch costs little beside the access.
FW_DEVICE float element(const void* data, DType dtype, int64_t i) {
  return dtype == kBfloat16 ? fromBfloat16(static_cast<const uint16_t*>(data)[i]) : static_cast<const float*>(data)[i];
}
FW_DEVICE void set_element(void* data, DType dtype, int64_t i, float x) {
  if (dtype == kBfloat16) static_cast<uint16_t*>(data)[i] = toBfloat16(x);
  else static_cast<float*>(data)[i] = x;
}

FW_DEVICE float load(const In& x, int64_t i) { return element(x.data, x.dtype, i); }
FW_DEVICE float load(const Out& x, int64_t i) { return element(x.data, x.dtype, i); }
FW_DEVICE void store(const Out& x, int64_t i, float value) { set_element(x.data, x.dtype, i, value); }
FW_DEVICE float load(const Span& x, int64_t i) { return element(x.data, x.dtype, i); }
FW_DEVICE void store(const Span& x, int64_t i, float value) { set_element(x.data, x.dtype, i, value); }

// Element i of token t and head h, in a kernel with `heads` heads; fewer in the operand serve neighbouring ones each.
FW_DEVICE float load(const Heads& x, int64_t t, int64_t h, int64_t heads, int64_t i) {
  return element(x.data, x.dtype, t * x.token + h * x.count / heads * x.head + i);
}

}  // namespace fw::cuda
