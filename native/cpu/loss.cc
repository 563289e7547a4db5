// Cross entropy of rows of logits with integer targets.
#include <math.h>

#include "sums.h"

FW_NAMESPACE_BEGIN

static int64_t rows_per_task(int64_t n) { return 4096 / (n + 1) + 1; }

// The logits that the loss sees: z = cap tanh(x / cap).
FW_INLINE Vec capped(Vec x, float cap) { return cap > 0 ? splat(cap) * vtanh(x * splat(1 / cap)) : x; }

void crossEntropy(const Context& cx, const crossEntropyArgs& x) {
  const int64_t n = x.n;
  const float cap = float(x.softcap);
  const double smoothing = x.smoothing;
  parallel_blocks(cx, x.rows, rows_per_task(n), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      const float* row = x.logits + r * n;
      const float top = n > 0 ? capped(splat(largest(row, n)), cap)[0] : -INFINITY;
      const double total = sum_of(n, [&](int64_t i, int64_t left) {
        return keep_first(vexp(capped(load_first(row + i, left), cap) - splat(top)), left);
      });
      const double lse = double(top) + log(total);
      const int32_t target = x.target.ints()[r];
      x.lse[r] = float(lse);
      if (target == x.ignoreIndex) {
        x.loss[r] = 0;
        continue;
      }
      double loss = lse - (1 - smoothing) * capped(splat(row[target]), cap)[0] + x.zLoss * lse * lse;
      if (smoothing != 0)
        loss -= smoothing / double(n) *
                sum_of(n, [&](int64_t i, int64_t left) { return capped(load_first(row + i, left), cap); });
      x.loss[r] = float(loss);
    }
  });
}

void crossEntropyBackward(const Context& cx, const crossEntropyBackwardArgs& x) {
  const int64_t n = x.n;
  const float cap = float(x.softcap);
  parallel_blocks(cx, x.rows, rows_per_task(n), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      const float* row = x.logits + r * n;
      float* to = x.dlogits + r * n;
      const int32_t target = x.target.ints()[r];
      const bool ignored = target == x.ignoreIndex;
      const float dloss = ignored ? 0.0f : x.dloss[r], lse = x.lse[r];
      const Vec weight = splat(float(dloss * (1 + 2 * x.zLoss * lse)));
      const Vec even = splat(float(dloss * x.smoothing / double(n)));
      const auto slope = [&](Vec z) {
        const Vec t = z * splat(1 / cap);
        return cap > 0 ? splat(1.0f) - t * t : splat(1.0f);
      };
      for (int64_t i = 0; i < n; i += kLanes) {
        const Vec z = capped(load_first(row + i, n - i), cap);
        const Vec d = weight * vexp(z - splat(lse)) - even;
        store_first(to + i, ignored ? Vec{} : d * slope(z), n - i);
      }
      if (!ignored) to[target] -= float(dloss * (1 - x.smoothing)) * slope(capped(splat(row[target]), cap))[0];
    }
  });
}

FW_NAMESPACE_END
