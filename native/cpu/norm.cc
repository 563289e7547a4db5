// Layer, RMS, L2 and sum normalisation of rows.
#include <math.h>
#include <string.h>

#include "lanes.h"
#include "sums.h"

FW_NAMESPACE_BEGIN

static constexpr float kSmallFactor = 0x1p-68f;
static constexpr double kSmallSquares = 1e-30;

// Rows of up to kShort elements go kLanes at a time: their sums across lanes are one transposition, and roots and divisions of
// one row do not wait for those of another. What comes of a row depends on itself only.
constexpr int64_t kShort = 256;

// Lane j is the sum of the vectors term(j, i, left) of n elements.
template <class Term>
FW_INLINE Vec sums_of_rows(int64_t n, const Term& term) {
  Vec rows[kLanes];
  for (int64_t j = 0; j < kLanes; j++)
    rows[j] = sum_between(0, n, n, [&](int64_t i, int64_t left) { return term(j, i, left); });
  return sum_each(rows);
}

// The row of every lane from `first` on; beyond the last that one again.
struct Together {
  int64_t first, count;
  Together(int64_t first, int64_t end) : first(first), count(end - first < kLanes ? end - first : kLanes) {}
  int64_t operator[](int64_t j) const { return first + (j < count ? j : count - 1); }
};

static int64_t rows_per_task(int64_t n) { return 16384 / (n + 1) + 1; }

struct Norm {
  const normArgs& x;
  const int64_t n = x.n;

  const float* row(int64_t r) const { return x.x + r * n; }
  Vec deviation(const float* row, Vec shift, int64_t i, int64_t left) const {
    return keep_first(load_first(row + i, left) - shift, left);
  }
  bool centred() const { return x.kind == kLayer; }

  float reciprocal(double squares) const { return float(1 / sqrt((x.kind == kL2 ? squares : squares / double(n)) + x.eps)); }

  void alone(int64_t r) const {
    const float* from = row(r);
    const auto level = [&] { return sum_of(n, [&](int64_t i, int64_t left) { return load_first(from + i, left); }); };
    const float shift = centred() ? float(level() / double(n)) : 0;
    if (x.kind == kBySum) return write(r, shift, float(1 / (level() + x.eps)));
    // The sum of squares of the deviations, each times `factor`, over its square.
    const auto squares_by = [&](float factor) {
      return sum_of(n, [&](int64_t i, int64_t left) {
        const Vec d = deviation(from, splat(shift), i, left) * splat(factor);
        return d * d;
      }) / (double(factor) * factor);
    };
    double squares = squares_by(1);
    // Where squares leave the range of floats, but norms do not.
    if (squares == INFINITY) squares = squares_by(kSmallFactor);
    else if (small(squares)) squares = squares_by(1 / kSmallFactor);
    write(r, shift, reciprocal(squares));
  }
  bool small(double squares) const { return squares < kSmallSquares && x.eps < kSmallSquares; }

  void together(const Together& rows) const {
    const auto level = [&] {
      return sums_of_rows(n, [&](int64_t j, int64_t i, int64_t left) { return load_first(row(rows[j]) + i, left); });
    };
    if (x.kind == kBySum) {
      const Vec sums = level();
      for (int64_t j = 0; j < rows.count; j++) write(rows[j], 0, float(1 / (double(sums[j]) + x.eps)));
      return;
    }
    const Vec shift = centred() ? level() / splat(float(n)) : Vec{};
    const Vec squares = sums_of_rows(n, [&](int64_t j, int64_t i, int64_t left) {
      const Vec d = deviation(row(rows[j]), splat(shift[j]), i, left);
      return d * d;
    });
    for (int64_t j = 0; j < rows.count; j++) {
      if (squares[j] == INFINITY || small(squares[j])) alone(rows[j]);
      else write(rows[j], shift[j], reciprocal(squares[j]));
    }
  }

  void write(int64_t r, float shift, float rstd) const {
    const float* weight = x.weight.data ? x.weight + r % x.groups * n : nullptr;
    const float* bias = x.bias.data ? x.bias + r % x.groups * n : nullptr;
    const float* from = row(r);
    float* y = x.y + r * n;
    for (int64_t i = 0; i < n; i += kLanes) {
      const int64_t left = n - i;
      Vec v = (load_first(from + i, left) - splat(shift)) * splat(rstd);
      if (weight) v = v * load_first(weight + i, left);
      if (bias) v = v + load_first(bias + i, left);
      store_first(y + i, v, left);
    }
    x.stats[2 * r] = shift;
    x.stats[2 * r + 1] = rstd;
  }
};

void norm(const Context& cx, const normArgs& x) {
  const Norm norm{x};
  parallel_blocks(cx, x.rows, rows_per_task(x.n), [&](int64_t begin, int64_t end) {
    if (x.n <= kShort)
      for (int64_t r = begin; r < end; r += kLanes) norm.together(Together(r, end));
    else
      for (int64_t r = begin; r < end; r++) norm.alone(r);
  });
}

// A row of the backward pass.
struct NormRow {
  const float *x, *dy, *weight;
  Vec mean, rstd;
  NormRow() = default;
  NormRow(const normBackwardArgs& a, int64_t r)
      : x(a.x + r * a.n), dy(a.dy + r * a.n), weight(a.weight.data ? a.weight + r % a.groups * a.n : nullptr),
        mean(splat(a.stats[2 * r])), rstd(splat(a.stats[2 * r + 1])) {}
  Vec normal(int64_t i, int64_t left) const { return (load_first(x + i, left) - mean) * rstd; }
  Vec slope(int64_t i, int64_t left) const {
    const Vec d = load_first(dy + i, left);
    return weight ? d * load_first(weight + i, left) : d;
  }
};

struct NormBack {
  const normBackwardArgs& x;
  // Sums of the gradients of weights and biases of all groups, or null.
  float *dweights, *dbiases;
  const int64_t n = x.n;

  void alone(int64_t r) const {
    const NormRow row(x, r);
    const double along = sum_of(n, [&](int64_t i, int64_t left) { return row.slope(i, left) * row.normal(i, left); });
    const double level = x.kind == kLayer ? sum_of(n, [&](int64_t i, int64_t left) { return row.slope(i, left); }) : 0;
    write(row, r, along, level);
  }

  void together(const Together& rows) const {
    NormRow row[kLanes];
    for (int64_t j = 0; j < kLanes; j++) row[j] = NormRow(x, rows[j]);
    const Vec along = sums_of_rows(n, [&](int64_t j, int64_t i, int64_t left) {
      return row[j].slope(i, left) * row[j].normal(i, left);
    });
    const Vec level =
        x.kind == kLayer ? sums_of_rows(n, [&](int64_t j, int64_t i, int64_t left) { return row[j].slope(i, left); }) : Vec{};
    for (int64_t j = 0; j < rows.count; j++) write(row[j], rows[j], along[j], level[j]);
  }

  // `along` and `level` are the sums of the slopes times normal values, and of themselves.
  void write(const NormRow& given, int64_t r, double along, double level) const {
    const NormRow row = given;
    const bool by_sum = x.kind == kBySum, accumulate = x.accumulate;
    const Vec lower = splat(float(by_sum ? along : level / double(n)));
    const Vec remove = splat(float(by_sum ? 0 : x.kind == kL2 ? along : along / double(n)));
    float* dx = x.dx + r * n;
    float* dweight = dweights ? dweights + r % x.groups * n : nullptr;
    float* dbias = dbiases ? dbiases + r % x.groups * n : nullptr;
    for (int64_t i = 0; i < n; i += kLanes) {
      const int64_t left = n - i;
      const Vec h = row.normal(i, left), d = load_first(row.dy + i, left);
      const Vec y = row.rstd * ((row.slope(i, left) - lower) - h * remove);
      store_first(dx + i, accumulate ? load_first(dx + i, left) + y : y, left);
      if (dweight) store_first(dweight + i, fma(d, h, load_first(dweight + i, left)), left);
      if (dbias) store_first(dbias + i, load_first(dbias + i, left) + d, left);
    }
  }
};

void normBackward(const Context& cx, const normBackwardArgs& x) {
  const int64_t n = x.n, rows = x.rows;
  // Gradients of weight and bias: sums over blocks of rows whose number depends on `rows` only, then over the blocks.
  constexpr int64_t kBlocks = 64, kLeastRows = 32;
  const int64_t even = (rows + kBlocks - 1) / kBlocks, each = even > kLeastRows ? even : kLeastRows;
  const int64_t blocks = (rows + each - 1) / each, size = x.groups * n;
  float* dweights = nullptr;
  float* dbiases = nullptr;
  if (x.dweight.data || x.dbias.data) {
    float* partial = static_cast<float*>(cx.scratch(0, 2 * (blocks + 1) * size * int64_t(sizeof(float))));
    if (x.dweight.data) dweights = partial;
    if (x.dbias.data) dbiases = partial + blocks * size;
  }
  parallel(cx, blocks, [&](int64_t block) {
    const NormBack back{x, dweights ? dweights + block * size : nullptr, dbiases ? dbiases + block * size : nullptr};
    if (dweights) memset(back.dweights, 0, size * sizeof(float));
    if (dbiases) memset(back.dbiases, 0, size * sizeof(float));
    const int64_t begin = block * each, end = begin + each < rows ? begin + each : rows;
    if (n <= kShort)
      for (int64_t r = begin; r < end; r += kLanes) back.together(Together(r, end));
    else
      for (int64_t r = begin; r < end; r++) back.alone(r);
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
