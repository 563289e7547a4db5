// Layer, RMS, L2 and sum normalisation of rows.
#include <math.h>
#include <string.h>

#include "sums.h"

FW_NAMESPACE_BEGIN

static constexpr float kSmallFactor = 0x1p-68f;
static constexpr double kSmallSquares = 1e-30;

static int64_t rows_per_task(int64_t n) { return 16384 / (n + 1) + 1; }

void norm(const Context& cx, const normArgs& x) {
  const int64_t n = x.n, groups = x.groups;
  parallel_blocks(cx, x.rows, rows_per_task(n), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      const float* row = x.x + r * n;
      const float* weight = x.weight.data ? x.weight + r % groups * n : nullptr;
      const float* bias = x.bias.data ? x.bias + r % groups * n : nullptr;
      float* y = x.y + r * n;
      const auto level = [&] { return sum_of(n, [&](int64_t i, int64_t left) { return load_first(row + i, left); }); };
      const Vec shift = splat(x.kind == kLayer ? float(level() / double(n)) : 0);
      // The sum of squares of the deviations, each times `factor`, over its square.
      const auto squares_by = [&](float factor) {
        return sum_of(n, [&](int64_t i, int64_t left) {
          const Vec d = keep_first(load_first(row + i, left) - shift, left) * splat(factor);
          return d * d;
        }) / (double(factor) * factor);
      };
      const auto deviation = [&] {
        double squares = squares_by(1);
        // Where squares leave the range of floats, but norms do not.
        if (squares == INFINITY) squares = squares_by(kSmallFactor);
        else if (squares < kSmallSquares && x.eps < kSmallSquares) squares = squares_by(1 / kSmallFactor);
        return sqrt((x.kind == kL2 ? squares : squares / double(n)) + x.eps);
      };
      const float rstd = float(1 / (x.kind == kBySum ? level() + x.eps : deviation()));
      const Vec scale = splat(rstd);
      for (int64_t i = 0; i < n; i += kLanes) {
        const int64_t left = n - i;
        Vec v = (load_first(row + i, left) - shift) * scale;
        if (weight) v = v * load_first(weight + i, left);
        if (bias) v = v + load_first(bias + i, left);
        store_first(y + i, v, left);
      }
      x.stats[2 * r] = shift[0];
      x.stats[2 * r + 1] = rstd;
    }
  });
}

void normBackward(const Context& cx, const normBackwardArgs& x) {
  const int64_t n = x.n, groups = x.groups, rows = x.rows;
  // Gradients of weight and bias: sums over blocks of rows whose number depends on `rows` only, then over the blocks.
  constexpr int64_t kBlocks = 64, kLeastRows = 32;
  const int64_t even = (rows + kBlocks - 1) / kBlocks, each = even > kLeastRows ? even : kLeastRows;
  const int64_t blocks = (rows + each - 1) / each, size = groups * n;
  float* dweights = nullptr;
  float* dbiases = nullptr;
  if (x.dweight.data || x.dbias.data) {
    float* partial = static_cast<float*>(cx.scratch(0, 2 * (blocks + 1) * size * int64_t(sizeof(float))));
    if (x.dweight.data) dweights = partial;
    if (x.dbias.data) dbiases = partial + blocks * size;
  }
  parallel(cx, blocks, [&](int64_t block) {
    if (dweights) memset(dweights + block * size, 0, size * sizeof(float));
    if (dbiases) memset(dbiases + block * size, 0, size * sizeof(float));
    const int64_t begin = block * each, end = begin + each < rows ? begin + each : rows;
    for (int64_t r = begin; r < end; r++) {
      const float *row = x.x + r * n, *dy = x.dy + r * n;
      const float* weight = x.weight.data ? x.weight + r % groups * n : nullptr;
      float* dx = x.dx + r * n;
      const Vec mean = splat(x.stats[2 * r]), rstd = splat(x.stats[2 * r + 1]);
      const auto normal = [&](int64_t i, int64_t left) { return (load_first(row + i, left) - mean) * rstd; };
      const auto slope = [&](int64_t i, int64_t left) {
        const Vec d = load_first(dy + i, left);
        return weight ? d * load_first(weight + i, left) : d;
      };
      const double along = sum_of(n, [&](int64_t i, int64_t left) { return slope(i, left) * normal(i, left); });
      const bool by_sum = x.kind == kBySum;
      const double level = by_sum ? along : x.kind == kLayer ? sum_of(n, slope) / double(n) : 0;
      const Vec remove = splat(float(by_sum ? 0 : x.kind == kL2 ? along : along / double(n))), lower = splat(float(level));
      float* dweight = dweights ? dweights + block * size + r % groups * n : nullptr;
      float* dbias = dbiases ? dbiases + block * size + r % groups * n : nullptr;
      for (int64_t i = 0; i < n; i += kLanes) {
        const int64_t left = n - i;
        const Vec h = normal(i, left), d = load_first(dy + i, left);
        const Vec y = rstd * ((slope(i, left) - lower) - h * remove);
        store_first(dx + i, x.accumulate ? load_first(dx + i, left) + y : y, left);
        if (dweight) store_first(dweight + i, fma(d, h, load_first(dweight + i, left)), left);
        if (dbias) store_first(dbias + i, load_first(dbias + i, left) + d, left);
      }
    }
  });
  const auto gather = [&](const float* partial, float* y) {
    parallel_blocks(cx, size, 256, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i += kLanes) {
        Vec total{};
        for (int64_t block = 0; block < blocks; block++) total += load_first(partial + block * size + i, end - i);
        store_first(y + i, total, end - i);
      }
    });
  };
  if (dweights) gather(dweights, x.dweight);
  if (dbiases) gather(dbiases, x.dbias);
}

FW_NAMESPACE_END
