// Running folds along one dimension whose steps are not plain sums.
#include <math.h>

#include "arena.h"

FW_NAMESPACE_BEGIN

// ln(e^a + e^b); of two infinities the larger.
FW_INLINE double log_add_exp(double a, double b) {
  const double most = a > b || a != a ? a : b;
  if (most - most != 0) return most;
  return most + log1p(exp(-fabs(a - b)));
}

// Lines that run side by side, whose elements lie together.
constexpr int64_t kLines = 16;

template <class Step>
FW_INLINE void run_lines(const scanArgs& args, int64_t first, int64_t lines, const Step& step) {
  const int64_t n = args.n, inner = args.inner, along = args.reverse ? -inner : inner;
  const float* x = args.x;
  float* y = args.y;
  int64_t at = (first / inner * n + (args.reverse ? n - 1 : 0)) * inner + first % inner;
  double value[kLines] = {};
  for (int64_t i = 0; i < n; i++, at += along)
    for (int64_t j = 0; j < lines; j++) {
      value[j] = i == 0 ? double(x[at + j]) : step(value[j], double(x[at + j]), at + j);
      y[at + j] = float(value[j]);
    }
}

template <class Step>
static void scan_lines(const Context& cx, const scanArgs& args, const Step& step) {
  const int64_t pieces = (args.inner + kLines - 1) / kLines;
  const int64_t grain = 4096 / (args.n * least(args.inner, kLines) + 1) + 1;
  parallel_blocks(cx, args.outer * pieces, grain, [&](int64_t begin, int64_t end) {
    for (int64_t piece = begin; piece < end; piece++) {
      const int64_t j = piece % pieces * kLines, lines = least(args.inner - j, kLines);
      const int64_t first = piece / pieces * args.inner + j;
      if (lines == kLines) run_lines(args, first, kLines, step);
      else for (int64_t i = 0; i < lines; i++) run_lines(args, first + i, 1, step);
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
