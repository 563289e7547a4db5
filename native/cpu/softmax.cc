// Softmax and log-softmax of rows.
#include <math.h>

#include "sums.h"

FW_NAMESPACE_BEGIN

static int64_t rows_per_task(int64_t n) { return 8192 / (n + 1) + 1; }

void softmax(const Context& cx, const softmaxArgs& x) {
  const int64_t n = x.n;
  if (n <= 0) return;
  parallel_blocks(cx, x.rows, rows_per_task(n), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      const float* row = x.x + r * n;
      float* y = x.y + r * n;
      const float top = largest(row, n);
      const double total = sum_of(n, [&](int64_t i, int64_t left) {
        const Vec e = vexp(load_first(row + i, left) - splat(top));
        if (!x.log) store_first(y + i, e, left);
        return keep_first(e, left);
      });
      const Vec scale = splat(float(1 / total)), shift = splat(float(log(total)));
      for (int64_t i = 0; i < n; i += kLanes) {
        const int64_t left = n - i;
        const Vec v = x.log ? (load_first(row + i, left) - splat(top)) - shift : load_first(y + i, left) * scale;
        store_first(y + i, v, left);
      }
    }
  });
}

void softmaxBackward(const Context& cx, const softmaxBackwardArgs& x) {
  const int64_t n = x.n;
  parallel_blocks(cx, x.rows, rows_per_task(n), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      const float *y = x.y + r * n, *dy = x.dy + r * n;
      float* dx = x.dx + r * n;
      const Vec total = splat(float(sum_of(n, [&](int64_t i, int64_t left) {
        const Vec d = load_first(dy + i, left);
        return x.log ? d : d * load_first(y + i, left);
      })));
      for (int64_t i = 0; i < n; i += kLanes) {
        const int64_t left = n - i;
        const Vec p = load_first(y + i, left), d = load_first(dy + i, left);
        store_first(dx + i, x.log ? d - vexp(p) * total : p * (d - total), left);
      }
    }
  });
}

FW_NAMESPACE_END
