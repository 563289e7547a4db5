// y = activation(x W^T + bias) + residual: what follows the product is done while its rows are in the first cache.
#include <string.h>

#include "shared.h"

FW_NAMESPACE_BEGIN

namespace {

struct LinearEpilogue : Epilogue {
  const linearArgs& x;
  explicit LinearEpilogue(const linearArgs& x) : Epilogue{run, close_by}, x(x) {}

  static void close_by(const Epilogue& self, int64_t i, int64_t j, int64_t rows, int64_t cols, Lines& lines) {
    const linearArgs& x = static_cast<const LinearEpilogue&>(self).x;
    if (x.residual.data) lines.add(x.residual + i * x.n + j, x.n, rows, cols);
    if (x.preactivation.data) lines.add(x.preactivation + i * x.n + j, x.n, rows, cols);
  }

  static void run(const Epilogue& self, int64_t i, int64_t j, int64_t rows, int64_t cols) {
    const linearArgs& x = static_cast<const LinearEpilogue&>(self).x;
    const bool silu = x.activation == kSiluActivation;
    const int64_t n = x.n;
    for (int64_t r = i; r < i + rows; r++) {
      const int64_t at = r * n + j;
      float *y = x.y + at, *z = x.preactivation.data ? x.preactivation + at : nullptr;
      const float *bias = x.bias.data ? x.bias + j : nullptr, *residual = x.residual.data ? x.residual + at : nullptr;
      for_vectors(cols, [&](int64_t s, auto load_at, auto store_at) {
        Vec v = load_at(y + s);
        if (bias) v += load_at(bias + s);
        if (z) store_at(z + s, v);
        if (silu) v = vsilu(v);
        if (residual) v += load_at(residual + s);
        store_at(y + s, v);
      });
    }
  }
};

}  // namespace

void linear(const Context& cx, const linearArgs& x) {
  if (x.rows <= 0 || x.n <= 0) return;
  const LinearEpilogue epilogue(x);
  const bool plain = !x.bias.data && !x.preactivation.data && !x.residual.data && x.activation == kNoActivation;
  if (x.k <= 0) {
    memset(x.y.data, 0, x.rows * x.n * sizeof(float));
    return epilogue.apply(epilogue, 0, 0, x.rows, x.n);
  }
  Matrix a = row_major(x.x, x.k), b = row_major(x.weight, x.k).transposed(), c = row_major(x.y, x.n);
  if (x.n < kLanes && x.rows > x.n) {
    // Lanes run along the columns of the product: the long side.
    multiply(cx, gemm_of(kFloat32Products), b.transposed(), a.transposed(), c.transposed(), x.n, x.rows, x.k, 1, true);
    if (!plain) epilogue.apply(epilogue, 0, 0, x.rows, x.n);
    return;
  }
  multiply(cx, gemm_of(x.precision), a, b, c, x.rows, x.n, x.k, 1, true, plain ? nullptr : &epilogue);
}

FW_NAMESPACE_END
