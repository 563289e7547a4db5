// The vocabulary of families that walk chunks of tokens (native/families) on a block of threads, which share the elements of
// a word; it ends with all threads at a barrier, so that none stands in a family. Matrices lie in the block's own part of the
// card's memory.
#pragma once
#include "../../families/track.h"
#include "../math.cuh"
#include "../tile.cuh"

namespace fw::cuda {

struct Factor {
  const float* at;
  int64_t rows, columns, row, column;
};

struct Block {
  float* at;
  int64_t rows, columns;
  FW_WORD float& operator()(int64_t r, int64_t i) const { return at[r * columns + i]; }
  FW_WORD float entry(int64_t r, int64_t i) const { return at[r * columns + i]; }
  FW_WORD operator Factor() const { return {at, rows, columns, columns, 1}; }
  FW_WORD Factor across() const { return {at, columns, rows, 1, columns}; }
};

// Numbers, each of a row of a block, or along its columns.
struct Line {
  float* at;
  int64_t size;
  FW_WORD float& operator()(int64_t i) const { return at[i]; }
  FW_WORD float& operator[](int64_t i) const { return at[i]; }
};

struct Matrices {
  static constexpr int kThreads = 128;
  using Block = cuda::Block;
  using Line = cuda::Line;

  // Over no memory pieces are only counted.
  float* memory;
  int64_t used;

  FW_LAYOUT float* piece(int64_t n) {
    float* const at = memory ? memory + used : nullptr;
    used += n;
    return at;
  }
  FW_LAYOUT Block block(int64_t rows, int64_t columns) { return {piece(rows * columns), rows, columns}; }
  FW_LAYOUT Line line(int64_t n) { return {piece(n), n}; }

  // c = a b and c += a b, where c may have further columns.
  FW_WORD void multiply(Block c, Factor a, Factor b) { product(c, a, b, false); }
  FW_WORD void add(Block c, Factor a, Factor b) { product(c, a, b, true); }

  FW_WORD void fetch(Block to, const float* from, int64_t stride, int64_t width, float rest) {
    each(to, [=](int64_t r, int64_t i) { to(r, i) = i < width ? from[r * stride + i] : rest; });
  }
  FW_WORD void fetch(Line to, const float* from, int64_t step) {
    share_out(to.size, [=](int64_t i) { to.at[i] = from[i * step]; });
  }
  FW_WORD void ahead(const float*, int64_t, int64_t, int64_t) {}
  FW_WORD void save(float* to, int64_t stride, Block from, int64_t width) {
    share_out(from.rows * width, [=](int64_t n) {
      to[n / width * stride + n % width] = from(n / width, n % width);
    });
  }
  FW_WORD void save(float* to, int64_t stride, Block from) { save(to, stride, from, from.columns); }
  FW_WORD void save(float* to, int64_t step, Line from) {
    share_out(from.size, [=](int64_t i) { to[i * step] = from.at[i]; });
  }

  template <class F>
  FW_WORD void each(Block like, F f) {
    share_out(like.rows * like.columns, [&](int64_t n) { f(n / like.columns, n % like.columns); });
  }
  template <class F>
  FW_WORD void map(Line x, F f) {
    share_out(x.size, [&](int64_t i) { x.at[i] = f(x.at[i]); });
  }
  static FW_WORD float root(float x) { return sqrtf(x); }
  FW_WORD void clear(Line x) {
    share_out(x.size, [=](int64_t i) { x.at[i] = 0; });
  }
  FW_WORD void copy(Block to, Block from) {
    share_out(to.rows * to.columns, [=](int64_t n) { to.at[n] = from.at[n]; });
  }
  FW_WORD void add_to(Line x, int64_t i, float by) { one([=] { x.at[i] += by; }); }
  FW_WORD void add_to_entry(Block x, int64_t r, int64_t i, float by) { one([=] { x(r, i) += by; }); }
  FW_WORD void add_to_row(Block x, int64_t r, Line by) {
    share_out(by.size, [=](int64_t i) { x(r, i) += by.at[i]; });
  }
  FW_WORD void lower(Block x) {
    each(x, [=](int64_t r, int64_t i) {
      if (i > r) x(r, i) = 0;
    });
  }
  FW_WORD void diagonal(Block x, Line d) {
    each(x, [=](int64_t r, int64_t i) { x(r, i) = i == r ? d.at[r] : 0; });
  }
  FW_WORD void diagonal_of(Line d, Block x) {
    share_out(d.size, [=](int64_t r) { d.at[r] = x(r, r); });
  }
  FW_WORD void row(Line to, Block x, int64_t r) {
    share_out(to.size, [=](int64_t i) { to.at[i] = x(r, i); });
  }
  FW_WORD void column(Line to, Block x, int64_t i) {
    share_out(to.size, [=](int64_t r) { to.at[r] = x(r, i); });
  }
  FW_WORD void set_column(Block x, int64_t i, Line from) {
    share_out(from.size, [=](int64_t r) { x(r, i) = from.at[r]; });
  }
  // A thread for each column.
  FW_WORD void recur(Block x, Line factor, int64_t unit) {
    share_out(x.columns, [=](int64_t i) {
      float before = i == unit;
      for (int64_t r = 0; r < x.rows; r++) before = x(r, i) += factor.at[r] * before;
    });
  }
  FW_WORD void recur_back(Block x, Line factor) {
    share_out(x.columns, [=](int64_t i) {
      for (int64_t r = x.rows - 2; r >= 0; r--) x(r, i) += factor.at[r + 1] * x(r + 1, i);
    });
  }

  // A warp for each row.
  template <class F>
  FW_WORD void fold(Line to, Block like, F f) {
    for (int64_t r = warp(); r < like.rows; r += kThreads / kWarp) {
      float sum = 0;
      for (int64_t i = lane(); i < like.columns; i += kWarp) sum += f(r, i);
      sum = warpSum(sum);
      if (lane() == 0) to.at[r] = sum;
    }
    barrier();
  }
  template <class F>
  FW_WORD void fold_down(Line to, Block like, F f) {
    share_out(like.columns, [&](int64_t i) {
      float sum = to.at[i];
      for (int64_t r = 0; r < like.rows; r++) sum += f(r, i);
      to.at[i] = sum;
    });
  }
  // The same for all threads, in the order of the line. Between it and what changes the line another word stands in every
  // family (the emulated card would report the race).
  FW_WORD float total(Line x) {
    float sum = 0;
    for (int64_t i = 0; i < x.size; i++) sum += x.at[i];
    return sum;
  }

 private:
  template <class F>
  static FW_WORD void share_out(int64_t n, const F& f) {
    for (int64_t i = thread(); i < n; i += kThreads) f(i);
    barrier();
  }
  template <class F>
  static FW_WORD void one(const F& f) {
    if (thread() == 0) f();
    barrier();
  }
  static FW_WORD void product(Block c, Factor a, Factor b, bool adds) {
    share_out(a.rows * b.columns, [=](int64_t n) {
      const int64_t i = n / b.columns, j = n % b.columns;
      const float *x = a.at + i * a.row, *y = b.at + j * b.column;
      float sum = 0;
      for (int64_t p = 0; p < a.columns; p++) sum = fmaf(x[p * a.column], y[p * b.row], sum);
      c(i, j) = adds ? c(i, j) + sum : sum;
    });
  }
};

}  // namespace fw::cuda
