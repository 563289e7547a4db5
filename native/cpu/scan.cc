// Running folds along one dimension whose steps are not plain sums.
#include <math.h>

#include "vec.h"

FW_NAMESPACE_BEGIN

// ln(e^a + e^b); of two infinities the larger.
FW_INLINE double log_add_exp(double a, double b) {
  const double most = a > b || a != a ? a : b;
  if (most - most != 0) return most;
  return most + log1p(exp(-fabs(a - b)));
}

template <class Step>
static void scan_lines(const Context& cx, const scanArgs& args, const Step& step) {
  const int64_t n = args.n, inner = args.inner, along = args.reverse ? -inner : inner;
  const float* x = args.x;
  float* y = args.y;
  parallel_blocks(cx, args.outer * inner, 4096 / (n + 1) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t line = begin; line < end; line++) {
      int64_t at = (line / inner * n + (args.reverse ? n - 1 : 0)) * inner + line % inner;
      double value = 0;
      for (int64_t i = 0; i < n; i++, at += along) {
        value = i == 0 ? double(x[at]) : step(value, double(x[at]), at);
        y[at] = float(value);
      }
    }
  });
}

void scan(const Context& cx, const scanArgs& args) {
  const float* factor = args.factor;
  // Reversed it is the transpose: the factor of a step is that of the element before.
  const int64_t shift = args.reverse ? args.inner : 0;
  switch (args.op) {
    case kLinearScan:
      return scan_lines(cx, args, [=](double value, double x, int64_t at) {
        return double(factor[at + shift]) * value + x;
      });
    case kLogSumExpScan:
      return scan_lines(cx, args, [](double value, double x, int64_t) { return log_add_exp(value, x); });
    default: return cx.fail("scan: unknown operation");
  }
}

FW_NAMESPACE_END
