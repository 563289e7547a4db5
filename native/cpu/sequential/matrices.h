// The vocabulary of families that walk chunks of tokens (native/families) on the lanes of one thread: matrices whose rows
// are whole vectors. What lies beyond a row's end is never part of a product or a sum.
#pragma once
#include <math.h>

#include "../arena.h"
#include "../gemm/product.h"
#include "../sums.h"
#include "../../families/track.h"

FW_NAMESPACE_BEGIN

struct Factor {
  Matrix at;
  int64_t rows, columns;
};

struct Block {
  float* at;
  int64_t rows, columns, stride;
  VecUnaligned& operator()(int64_t r, int64_t i) const {
    return *reinterpret_cast<VecUnaligned*>(at + r * stride + i);
  }
  float entry(int64_t r, int64_t i) const { return at[r * stride + i]; }
  operator Factor() const { return {row_major(at, stride), rows, columns}; }
  Factor across() const { return {row_major(at, stride).transposed(), columns, rows}; }
};

// Numbers, each of a row of a block, or along its columns.
struct Line {
  float* at;
  int64_t size;
  float operator()(int64_t i) const { return at[i]; }
  VecUnaligned& operator[](int64_t i) const { return *reinterpret_cast<VecUnaligned*>(at + i); }
};

struct Matrices {
  using Block = FW_ISA::Block;
  using Line = FW_ISA::Line;

  Arena& memory;
  float* panel;
  explicit Matrices(Arena& memory) : memory(memory), panel(memory.floats(kPanelFloats)) {}

  Block block(int64_t rows, int64_t columns) {
    const int64_t stride = round_up(columns, kLanes);
    return {memory.floats(rows * stride), rows, columns, stride};
  }
  Line line(int64_t n) { return {memory.floats(round_up(n, kLanes)), n}; }

  // c = a b and c += a b, where c may have further columns.
  void multiply(Block c, Factor a, Factor b) { product_of(c, a, b, true); }
  void add(Block c, Factor a, Factor b) { product_of(c, a, b, false); }

  // The first `width` columns of rows in memory, then `rest` up to the end of the block's columns.
  void fetch(Block to, const float* from, int64_t stride, int64_t width, float rest) {
    for (int64_t r = 0; r < to.rows; r++) {
      float* row = to.at + r * to.stride;
      stage_row(row, from + r * stride, width, to.stride);
      for (int64_t i = width; i < to.columns; i++) row[i] = rest;
    }
  }
  void fetch(Line to, const float* from, int64_t step) {
    for (int64_t i = 0; i < to.size; i++) to.at[i] = from[i * step];
    for (int64_t i = to.size; i < round_up(to.size, kLanes); i++) to.at[i] = 0;
  }
  // Rows that are fetched, or saved, soon.
  FW_WORD void ahead(const float* from, int64_t stride, int64_t rows, int64_t width) {
    for (int64_t r = 0; r < rows; r++)
      for (int64_t i = 0; i < width; i += 16) __builtin_prefetch(from + r * stride + i, 0, 2);
  }
  void save(float* to, int64_t stride, Block from, int64_t width) {
    for (int64_t r = 0; r < from.rows; r++)
      for (int64_t i = 0; i < width; i += kLanes) store_row(to + r * stride, i, width, load(from.at + r * from.stride + i));
  }
  void save(float* to, int64_t stride, Block from) { save(to, stride, from, from.columns); }
  void save(float* to, int64_t step, Line from) {
    for (int64_t i = 0; i < from.size; i++) to[i * step] = from.at[i];
  }

  // f(r, i) for the vectors of every row.
  template <class F>
  FW_WORD void each(Block like, F f) {
    for (int64_t r = 0; r < like.rows; r++)
      for (int64_t i = 0; i < like.stride; i += kLanes) f(r, i);
  }
  template <class F>
  FW_WORD void map(Line x, F f) {
    for (int64_t i = 0; i < x.size; i++) x.at[i] = f(x.at[i]);
  }
  static FW_WORD float root(float x) { return sqrtf(x); }
  void clear(Line x) { zero_row(x.at, round_up(x.size, kLanes)); }
  void copy(Block to, Block from) {
    for (int64_t i = 0; i < from.rows * from.stride; i += kLanes) store(to.at + i, load(from.at + i));
  }
  void add_to(Line x, int64_t i, float by) { x.at[i] += by; }
  void add_to_row(Block x, int64_t r, Line by) {
    for (int64_t i = 0; i < by.size; i++) x.at[r * x.stride + i] += by.at[i];
  }

  void add_to_entry(Block x, int64_t r, int64_t i, float by) { x.at[r * x.stride + i] += by; }

  // Zeros above the diagonal; nothing but a diagonal; and what stands on it.
  void lower(Block x) {
    for (int64_t r = 0; r < x.rows; r++)
      for (int64_t i = r + 1; i < x.columns; i++) x.at[r * x.stride + i] = 0;
  }
  void diagonal(Block x, Line d) {
    zero_row(x.at, x.rows * x.stride);
    for (int64_t r = 0; r < x.rows; r++) x.at[r * x.stride + r] = d.at[r];
  }
  void diagonal_of(Line d, Block x) {
    for (int64_t r = 0; r < d.size; r++) d.at[r] = x.at[r * x.stride + r];
  }
  // A row or column of a block.
  void row(Line to, Block x, int64_t r) { stage_row(to.at, x.at + r * x.stride, to.size, round_up(to.size, kLanes)); }
  void column(Line to, Block x, int64_t i) {
    for (int64_t r = 0; r < to.size; r++) to.at[r] = x.at[r * x.stride + i];
  }
  void set_column(Block x, int64_t i, Line from) {
    for (int64_t r = 0; r < from.size; r++) x.at[r * x.stride + i] = from.at[r];
  }
  // Row after row x(r) += factor(r) x(r - 1), where x(-1) is 1 in one column and 0 in all others; and back from the last,
  // x(r) += factor(r + 1) x(r + 1).
  void recur(Block x, Line factor, int64_t unit) {
    if (x.rows > 0) x.at[unit] += factor.at[0];
    for (int64_t r = 1; r < x.rows; r++) add_row(x, r, r - 1, factor.at[r]);
  }
  void recur_back(Block x, Line factor) {
    for (int64_t r = x.rows - 2; r >= 0; r--) add_row(x, r, r + 1, factor.at[r + 1]);
  }

  // to(r) = the sum of f along row r.
  template <class F>
  FW_WORD void fold(Line to, Block like, F f) {
    for (int64_t r = 0; r < like.rows; r++) {
      Vec total{};
      int64_t i = 0;
      for (; i + kLanes <= like.columns; i += kLanes) total += f(r, i);
      if (i < like.columns) total += keep_first(f(r, i), like.columns - i);
      to.at[r] = sum(total);
    }
  }
  // to[i] += the sum of f down column i.
  template <class F>
  FW_WORD void fold_down(Line to, Block like, F f) {
    for (int64_t i = 0; i < like.stride; i += kLanes)
      for (int64_t r = 0; r < like.rows; r++) to[i] = to[i] + f(r, i);
  }
  float total(Line x) {
    return float(sum_of(x.size, [&](int64_t i, int64_t) { return load_row(x.at, i, x.size); }));
  }

 private:
  static void add_row(Block x, int64_t to, int64_t from, float factor) {
    for (int64_t i = 0; i < x.stride; i += kLanes) x(to, i) += x(from, i) * factor;
  }
  void product_of(Block c, Factor a, Factor b, bool overwrite) {
    product(a.at, b.at, row_major(c.at, c.stride), a.rows, b.columns, a.columns, 1, overwrite, panel);
  }
};

FW_NAMESPACE_END
