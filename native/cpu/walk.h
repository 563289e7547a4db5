// Operands with any strides, walked in runs along the last dimension.
#pragma once
#include "isa.h"

FW_NAMESPACE_BEGIN

// Strides of a contiguous tensor.
static inline Dims row_major(const Dims& shape) {
  Dims strides = shape;
  int64_t n = 1;
  for (int64_t i = shape.rank - 1; i >= 0; i--) {
    strides.d[i] = n;
    n *= shape[i];
  }
  return strides;
}

// A shape with the strides of some operands, neighbouring dimensions merged where all of them allow it, sizes of one
// dropped. At least one dimension remains.
template <int kOperands>
struct Walk {
  int64_t rank = 0, shape[8], strides[kOperands][8];

  Walk(const Dims& dims, const Dims* const (&operands)[kOperands]) {
    for (int64_t i = 0; i < dims.rank; i++) {
      if (dims[i] == 1) continue;
      bool merge = rank > 0;
      for (int o = 0; o < kOperands && merge; o++) merge = strides[o][rank - 1] == (*operands[o])[i] * dims[i];
      const int64_t at = merge ? rank - 1 : rank++;
      shape[at] = merge ? shape[at] * dims[i] : dims[i];
      for (int o = 0; o < kOperands; o++) strides[o][at] = (*operands[o])[i];
    }
    if (rank == 0) {
      rank = shape[0] = 1;
      for (auto& operand : strides) operand[0] = 0;
    }
  }

  int64_t size() const {
    int64_t n = 1;
    for (int64_t i = 0; i < rank; i++) n *= shape[i];
    return n;
  }

  // Along the last dimension.
  int64_t step(int operand) const { return strides[operand][rank - 1]; }

  // Calls run(offsets of the operands, length) for the pieces of rows that make up the elements begin to end.
  template <class Run>
  void rows(int64_t begin, int64_t end, const Run& run) const {
    const int64_t inner = shape[rank - 1];
    int64_t index[8], offset[kOperands] = {}, rest = begin;
    for (int64_t i = rank - 1; i >= 0; i--) {
      index[i] = rest % shape[i];
      rest /= shape[i];
      for (int o = 0; o < kOperands; o++) offset[o] += index[i] * strides[o][i];
    }
    for (int64_t at = begin; at < end;) {
      int64_t length = inner - index[rank - 1];
      if (length > end - at) length = end - at;
      run(offset, length);
      at += length;
      // The next row starts at its first element.
      for (int o = 0; o < kOperands; o++) offset[o] -= index[rank - 1] * strides[o][rank - 1];
      index[rank - 1] = 0;
      for (int64_t i = rank - 2; i >= 0; i--) {
        for (int o = 0; o < kOperands; o++) offset[o] += strides[o][i];
        if (++index[i] < shape[i]) break;
        for (int o = 0; o < kOperands; o++) offset[o] -= shape[i] * strides[o][i];
        index[i] = 0;
      }
    }
  }
};

FW_NAMESPACE_END
