// Operands with any strides, walked in runs along the last dimension.
#pragma once
#include "flat.cuh"

namespace fw::cuda {

// A shape with the strides of some operands, neighbouring dimensions merged where all allow it, sizes of one dropped. At
// least one dimension remains: the last is `width`, and `rows` is the product of those before it.
template <int kOperands>
struct Walk {
  int64_t rank = 0, rows = 1, width = 1, shape[8] = {}, strides[kOperands][8] = {};

  // Along the last dimension.
  FW_HOST_DEVICE int64_t step(int operand) const { return strides[operand][rank - 1]; }
};

template <int kOperands>
Walk<kOperands> walkOf(const Dims& shape, const Dims* const (&operands)[kOperands]) {
  Walk<kOperands> walk;
  for (int64_t i = 0; i < shape.rank; i++) {
    if (shape[i] == 1) continue;
    const int64_t last = walk.rank - 1, n = shape[i];
    bool merge = last >= 0;
    for (int o = 0; o < kOperands && merge; o++) merge = walk.strides[o][last] == (*operands[o])[i] * n;
    const int64_t at = merge ? last : walk.rank++;
    walk.shape[at] = merge ? walk.shape[at] * n : n;
    for (int o = 0; o < kOperands; o++) walk.strides[o][at] = (*operands[o])[i];
  }
  if (walk.rank == 0) walk.rank = walk.shape[0] = 1;
  walk.width = walk.shape[walk.rank - 1];
  for (int64_t i = 0; i < walk.rank - 1; i++) walk.rows *= walk.shape[i];
  return walk;
}

template <int kOperands>
struct Offsets {
  int64_t of[kOperands] = {};
};
// Where the operands have the first element of a row.
template <int kOperands>
FW_DEVICE Offsets<kOperands> rowOf(const Walk<kOperands>& walk, int64_t row) {
  Offsets<kOperands> at;
  for (int64_t i = walk.rank - 2; i >= 0; i--) {
    const Division by = i > 0 ? divide(row, walk.shape[i]) : Division{0, row};
    FW_UNROLL for (int o = 0; o < kOperands; o++) at.of[o] += by.rest * walk.strides[o][i];
    row = by.quotient;
  }
  return at;
}

}  // namespace fw::cuda
