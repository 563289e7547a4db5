// Batched matrix products over strided operands, cut into blocks of rows, columns and batch members for the threads.
#include "gemm_product.h"

FW_NAMESPACE_BEGIN

// Multiply-adds that are worth handing to another thread.
constexpr int64_t kTaskWork = int64_t(1) << 17;

void matmul(const Context& cx, const matmulArgs& x) {
  const int64_t batch = x.batch1 * x.batch2, m = x.m, n = x.n, k = x.k;
  if (batch <= 0 || m <= 0 || n <= 0) return;
  const int64_t work = m * n * (k > 0 ? k : 1);

  // The cut never changes an element's sum, so it may depend on the number of threads.
  int64_t members = 1, row_cuts = 1, col_cuts = 1;
  if (batch >= 2 * cx.threads || cx.threads == 1) {
    const int64_t least = (kTaskWork + work - 1) / work, even = batch / (4 * cx.threads);
    members = least > even ? least : even;
    if (members > batch || cx.threads == 1) members = batch;
  } else {
    while (batch * row_cuts * col_cuts < cx.threads && work / (row_cuts * col_cuts) >= 2 * kTaskWork) {
      if (m / row_cuts >= n / col_cuts)
        row_cuts *= 2;
      else
        col_cuts *= 2;
    }
  }
  const int64_t rows_each = ((m + row_cuts - 1) / row_cuts + kRows - 1) / kRows * kRows;
  const int64_t cols_each = ((n + col_cuts - 1) / col_cuts + kPanel - 1) / kPanel * kPanel;
  row_cuts = (m + rows_each - 1) / rows_each;
  col_cuts = (n + cols_each - 1) / cols_each;

  const auto member = [&](const void* data, const Dims& strides, int64_t i) {
    return Matrix{static_cast<float*>(const_cast<void*>(data)) + i / x.batch2 * strides[0] + i % x.batch2 * strides[1],
                  strides[2], strides[3]};
  };
  parallel(cx, (batch + members - 1) / members * row_cuts * col_cuts, [&](int64_t task) {
    float* packed = static_cast<float*>(cx.scratch(3, kPackedFloats * sizeof(float)));
    const int64_t first = task / (row_cuts * col_cuts) * members;
    const int64_t last = first + members < batch ? first + members : batch;
    const int64_t i = task / col_cuts % row_cuts * rows_each, j = task % col_cuts * cols_each;
    const int64_t rows = m - i < rows_each ? m - i : rows_each, cols = n - j < cols_each ? n - j : cols_each;
    for (int64_t z = first; z < last; z++) {
      const Matrix a = member(x.a.data, x.aStrides, z), b = member(x.b.data, x.bStrides, z);
      const Matrix c = member(x.c.data, x.cStrides, z);
      const Matrix block{c.at(i, j), c.row, c.col};
      if (k > 0) {
        product({a.at(i, 0), a.row, a.col}, {b.at(0, j), b.row, b.col}, block, rows, cols, k, float(x.alpha),
                !x.accumulate, packed);
      } else if (!x.accumulate) {
        for (int64_t r = 0; r < rows; r++)
          for (int64_t s = 0; s < cols; s++) *block.at(r, s) = 0;
      }
    }
  });
}

FW_NAMESPACE_END
