// Sums, extrema and running sums along one dimension.
#include <math.h>

#include "sums.h"
#include "whole_lines.h"

FW_NAMESPACE_BEGIN

// Columns that one task reduces when the dimension is not the last, and elements of one partial sum when it is.
constexpr int64_t kColumns = 4 * kLanes, kChunk = int64_t(1) << 15;

// Compensated addition: the rounding error of each sum is carried to the next one. An infinite sum has none.
struct RunningSum {
  Vec total{}, carry{};
  inline __attribute__((always_inline)) void add(Vec x) {
    const Vec y = x - carry, next = total + y;
    carry = select(next - next == Vec{}, (next - total) - y, Vec{});
    total = next;
  }
};

// The larger (or smaller) of two, NaN where either is.
FW_INLINE Vec extreme(Vec best, Vec x, bool smallest) {
  return select((smallest ? x < best : x > best) | (x != x), x, best);
}

// totals[outer] = sum over n of term(row, i, left), in chunks that several tasks may share.
template <class Term>
static void sum_rows(const Context& cx, int64_t outer, int64_t n, const Term& term, double* totals) {
  const int64_t chunks = n > kChunk ? (n + kChunk - 1) / kChunk : 1;
  double* partial = chunks == 1 ? totals : totals + outer;
  parallel_blocks(cx, outer * chunks, kChunk / (n + 1) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; task++) {
      const int64_t row = task / chunks, from = task % chunks * kChunk, length = n - from < kChunk ? n - from : kChunk;
      partial[task] = sum_of(length, [&](int64_t i, int64_t left) { return term(row, from + i, left); });
    }
  });
  if (chunks == 1) return;
  for (int64_t row = 0; row < outer; row++) {
    totals[row] = 0;
    for (int64_t c = 0; c < chunks; c++) totals[row] += partial[row * chunks + c];
  }
}

static double* row_totals(const Context& cx, int64_t outer, int64_t n) {
  return static_cast<double*>(cx.scratch(0, outer * (n / kChunk + 2) * int64_t(sizeof(double))));
}

static float extreme_of(const float* x, int64_t n, bool smallest) {
  Vec best = splat(smallest ? INFINITY : -INFINITY);
  for (int64_t i = 0; i + kLanes <= n; i += kLanes) best = extreme(best, load(x + i), smallest);
  float lanes[2 * kLanes];
  store(lanes, best);
  const int64_t rest = n % kLanes;
  for (int64_t i = 0; i < rest; i++) lanes[kLanes + i] = x[n - rest + i];
  float y = lanes[0];
  for (int64_t i = 1; i < kLanes + rest; i++)
    if ((smallest ? lanes[i] < y : lanes[i] > y) || lanes[i] != lanes[i]) y = lanes[i];
  return y;
}

static void multiply_lines(const Context& cx, const reduceArgs& x) {
  const int64_t n = x.n, inner = x.inner;
  const float* data = x.x;
  float* y = x.y;
  parallel_blocks(cx, x.outer * inner, kChunk / (n + 1) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t line = begin; line < end; line++) {
      const float* from = data + line / inner * n * inner + line % inner;
      double product = 1;
      for (int64_t i = 0; i < n; i++) product *= from[i * inner];
      y[line] = float(product);
    }
  });
}

void reduce(const Context& cx, const reduceArgs& x) {
  if (x.x.dtype == kInt32) return reduce_whole(cx, x);
  const int64_t n = x.n, inner = x.inner;
  const bool adds = x.op == kSum || x.op == kMean, smallest = x.op == kMin;
  const double scale = x.op == kMean ? 1.0 / double(n) : 1.0;
  if (x.op == kProd) return multiply_lines(cx, x);
  if (!adds && !smallest && x.op != kMax) return cx.fail("reduce: unknown operation");
  if (x.outer * inner <= 0) return;
  if (inner == 1) {
    const float* data = x.x;
    if (adds) {
      double* totals = row_totals(cx, x.outer, n);
      const auto term = [&](int64_t r, int64_t i, int64_t left) { return load_first(data + r * n + i, left); };
      sum_rows(cx, x.outer, n, term, totals);
      for (int64_t r = 0; r < x.outer; r++) x.y[r] = float(n > 0 ? totals[r] * scale : x.op == kMean ? NAN : 0.0);
    } else {
      parallel_blocks(cx, x.outer, kChunk / (n + 1) + 1, [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; r++) x.y[r] = extreme_of(data + r * n, n, smallest);
      });
    }
    return;
  }
  const int64_t strips = (inner + kColumns - 1) / kColumns;
  parallel_blocks(cx, x.outer * strips, kChunk / (n * kColumns + 1) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; task++) {
      const int64_t j = task % strips * kColumns, left = inner - j;
      const float* from = x.x + task / strips * n * inner + j;
      float* to = x.y + task / strips * inner + j;
      const int vectors = int(left < kColumns ? (left + kLanes - 1) / kLanes : 4);
      for (int v = 0; v < vectors; v++) {
        const float* column = from + v * kLanes;
        const int64_t lanes = left - v * kLanes;
        Vec y;
        if (adds) {
          constexpr int64_t kBlock = 64;
          RunningSum all;
          for (int64_t i = 0; i < n; i += kBlock) {
            Vec block{};
            for (int64_t p = i; p < n && p < i + kBlock; p++) block += load_first(column + p * inner, lanes);
            all.add(block);
          }
          y = all.total * splat(float(scale));
        } else {
          y = splat(smallest ? INFINITY : -INFINITY);
          for (int64_t i = 0; i < n; i++) y = extreme(y, load_first(column + i * inner, lanes), smallest);
        }
        store_first(to + v * kLanes, y, lanes);
      }
    }
  });
}

void argmax(const Context& cx, const argmaxArgs& x) {
  if (x.x.dtype == kInt32) return argmax_whole(cx, x);
  const int64_t n = x.n, inner = x.inner;
  const auto first_largest = [&](const float* p, int64_t stride) {
    int64_t best = 0;
    for (int64_t i = 1; i < n && p[best * stride] == p[best * stride]; i++)
      if (!(p[i * stride] <= p[best * stride])) best = i;
    return int32_t(best);
  };
  if (inner == 1) {
    parallel_blocks(cx, x.outer, kChunk / (n + 1) + 1, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; r++) {
        const float* row = x.x + r * n;
        const float top = n > 0 ? extreme_of(row, n, false) : 0;
        int64_t i = 0;
        while (i < n && row[i] != top && top == top) i++;
        while (i < n && top != top && row[i] == row[i]) i++;
        x.y.ints()[r] = int32_t(i < n ? i : 0);
      }
    });
    return;
  }
  parallel_blocks(cx, x.outer * inner, kChunk / (n + 1) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++)
      x.y.ints()[i] = first_largest(x.x + i / inner * n * inner + i % inner, inner);
  });
}

void cumsum(const Context& cx, const cumsumArgs& x) {
  if (x.x.dtype == kInt32) return cumsum_whole(cx, x);
  const int64_t n = x.n, inner = x.inner;
  if (inner == 1) {
    parallel_blocks(cx, x.outer, kChunk / (n + 1) + 1, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; r++) {
        double total = 0;
        for (int64_t i = 0; i < n; i++) {
          const int64_t at = r * n + (x.reverse ? n - 1 - i : i);
          total += x.x[at];
          x.y[at] = float(total);
        }
      }
    });
    return;
  }
  const int64_t strips = (inner + kLanes - 1) / kLanes;
  parallel_blocks(cx, x.outer * strips, kChunk / (n * kLanes + 1) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; task++) {
      const int64_t j = task % strips * kLanes, base = task / strips * n * inner + j;
      RunningSum all;
      for (int64_t i = 0; i < n; i++) {
        const int64_t at = base + (x.reverse ? n - 1 - i : i) * inner;
        all.add(load_first(x.x + at, inner - j));
        store_first(x.y + at, all.total, inner - j);
      }
    }
  });
}

void sumSquares(const Context& cx, const sumSquaresArgs& x) {
  double all = 0;
  for (int64_t item = 0; item < x.x.count; item++) {
    const float* data = x.x[item];
    const int64_t n = x.x[item].size;
    double* total = row_totals(cx, 1, n);
    sum_rows(cx, 1, n, [&](int64_t, int64_t i, int64_t left) {
      const Vec v = load_first(data + i, left);
      return v * v;
    }, total);
    all += total[0];
  }
  x.y[0] = float(all);
}

FW_NAMESPACE_END
