// Products as the functions of the kernel table pose them.
#pragma once
#include "epilogue.cuh"
#include "factor.cuh"

namespace fw::cuda::gemm {

// c[i, j] = sum over terms of a[i, j] b[i, j], [m, k] times [k, n], for batch1 x batch2 members; then the epilogue.
struct Problem {
  Factor a[2], b[2];
  int64_t terms = 1, batch1 = 1, batch2 = 1, m = 0, n = 0, k = 0;
  Epilogue epilogue;
};

// A row-major matrix [.., width] whose rows are the lines of a factor, or whose columns are.
inline Factor rowsOf(const In& x, int64_t width) { return {x.data, x.dtype, 0, 0, width, 1}; }
inline Factor columnsOf(const In& x, int64_t width) { return {x.data, x.dtype, 0, 0, 1, width}; }

// Factors of float32 are multiplied as they are or, with `precision` 1, rounded to bfloat16 (MATMUL_PRECISIONS); where
// only some are float32 the others are widened.
void multiply(const Context& cx, const Problem& problem, int64_t precision);

template <class Products>
void multiplyAs(const Context& cx, Problem problem);

}  // namespace fw::cuda::gemm
