// y = activation(x W^T + bias) + residual: what follows the product is done while its rows are in the first cache.
#include <string.h>

#include "shared.h"

FW_NAMESPACE_BEGIN

namespace {

struct LinearFinish : Finish {
  const linearArgs& x;
  explicit LinearFinish(const linearArgs& x) : Finish{run, ahead}, x(x) {}

  static void ahead(const Finish& self, int64_t i, int64_t j, int64_t rows, int64_t cols) {
    const linearArgs& x = static_cast<const LinearFinish&>(self).x;
    if (x.residual.data) fetch_rows(x.residual + i * x.n + j, x.n, rows, cols);
  }

  static void run(const Finish& self, int64_t i, int64_t j, int64_t rows, int64_t cols) {
    const linearArgs& x = static_cast<const LinearFinish&>(self).x;
    const bool silu = x.activation == kSiluActivation;
    for (int64_t r = i; r < i + rows; r++) {
      const int64_t row = r * x.n + j;
      for (int64_t s = 0; s < cols; s += kLanes) {
        const int64_t left = cols - s;
        Vec y = load_first(x.y + row + s, left);
        if (x.bias.data) y += load_first(x.bias + j + s, left);
        if (x.preactivation.data) store_first(x.preactivation + row + s, y, left);
        if (silu) y *= vsigmoid(y);
        if (x.residual.data) y += load_first(x.residual + row + s, left);
        store_first(x.y + row + s, y, left);
      }
    }
  }
};

}  // namespace

void linear(const Context& cx, const linearArgs& x) {
  if (x.rows <= 0 || x.n <= 0) return;
  const LinearFinish finish(x);
  const bool plain = !x.bias.data && !x.preactivation.data && !x.residual.data && x.activation == kNoActivation;
  if (x.k <= 0) {
    memset(x.y.data, 0, x.rows * x.n * sizeof(float));
    return finish.apply(finish, 0, 0, x.rows, x.n);
  }
  Matrix a = row_major(x.x, x.k), b = row_major(x.weight, x.k).transposed(), c = row_major(x.y, x.n);
  if (x.n < kLanes && x.rows > x.n) {
    // Lanes run along the columns of the product: the long side.
    multiply(cx, gemm_of(kFloat32Products), b.transposed(), a.transposed(), c.transposed(), x.n, x.rows, x.k, 1, true);
    if (!plain) finish.apply(finish, 0, 0, x.rows, x.n);
    return;
  }
  multiply(cx, gemm_of(x.precision), a, b, c, x.rows, x.n, x.k, 1, true, plain ? nullptr : &finish);
}

FW_NAMESPACE_END
