// What the files of this folder share: strided matrices, the sizes of tiles and blocks, and what follows a product.
#pragma once
#include "../vec.h"

FW_NAMESPACE_BEGIN

// A tile of c holds kRows x kVectors accumulators, beside kVectors registers for b and one or two for a.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kVectors = 4;
#else
constexpr int kVectors = 2;
#endif
constexpr int kRows = 6;
constexpr int kPanel = kVectors * kLanes;  // columns of b that are packed side by side
// Few columns make short steps: a line of memory for each of them is more than the second cache gives, so what lies a
// power of two apart is packed.
constexpr bool kNarrow = kPanel < 64;
constexpr int kStepsPerFetch = 4 / kVectors;  // of memory that is needed soon
constexpr int64_t kMaxDepth = 1024;        // rows of a panel: it streams from the second cache, a's rows from the first
constexpr int64_t kBlockRows = kNarrow ? 48 : 96;  // rows of a that meet all panels; they stay in the second cache
constexpr int64_t kFewRows = 96;           // b is packed for more of them
constexpr int64_t kFirstCache = 1 << 13;   // floats that it holds

// Element (i, j) at data[i * row + j * col].
struct Matrix {
  float* data;
  int64_t row, col;
  float* at(int64_t i, int64_t j) const { return data + i * row + j * col; }
  Matrix from(int64_t i, int64_t j) const { return {at(i, j), row, col}; }
  bool has_lines() const { return row == 1 || col == 1; }
  Matrix transposed() const { return {data, col, row}; }
};
FW_INLINE Matrix row_major(const float* data, int64_t row) { return {const_cast<float*>(data), row, 1}; }

// Every element of a product is one chain of multiply-adds over each block of `depth_of(k)` terms, the blocks added in
// order: its bits depend on k only, never on m, n, the tile that holds it or the path taken.
FW_INLINE int64_t depth_of(int64_t k) {
  const int64_t blocks = (k + kMaxDepth - 1) / kMaxDepth;
  return blocks <= 1 ? k : ((k + blocks - 1) / blocks + 15) / 16 * 16;
}

FW_INLINE int64_t panels_of(int64_t n) { return (n + kPanel - 1) / kPanel; }
// Floats that hold `depth` rows of all panels of n columns. (Pairs of bfloat16 take half of it.)
FW_INLINE int64_t packed_floats(int64_t depth, int64_t n) { return panels_of(n) * kPanel * depth; }
// Lines of memory that are touched when a tile is complete. The tile fetches one every kStepsPerFetch steps, again and
// again: all at once they would hold up its own loads, and what it streams through the first cache would push them out
// before their time.
struct Lines {
  static constexpr int64_t kMost = 128;
  const float* at[kMost];
  int64_t count = 0, mask = 0;  // mask + 1, a power of two, entries are in use
  void add(const float* data, int64_t stride, int64_t rows, int64_t cols) {
    for (int64_t r = 0; r < rows; r++)
      for (int64_t j = 0; j < cols && count < kMost; j += 16) at[count++] = data + r * stride + j;
  }
  // Called after the last `add`, of which there was one at least.
  void close() {
    for (mask = 0; mask + 1 < count;) mask = 2 * mask + 1;
    for (int64_t i = 0; count <= mask; i++) at[count++] = at[i];
  }
};

// What is done with rows [i, i + rows) and columns [j, j + cols) of c as soon as they are complete. `near` names the
// lines that `apply` will touch besides those of c.
struct Epilogue {
  void (*apply)(const Epilogue&, int64_t i, int64_t j, int64_t rows, int64_t cols);
  void (*near)(const Epilogue&, int64_t i, int64_t j, int64_t rows, int64_t cols, Lines&);
};

// body(i, load, store) for every vector of n numbers, the last of which may be a part of one.
template <class Body>
FW_INLINE void for_vectors(int64_t n, const Body& body) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    body(i, [](const float* p) { return load(p); }, [](float* p, Vec x) { store(p, x); });
  const int64_t left = n - i;
  if (left > 0)
    body(i, [=](const float* p) { return load_part(p, left); }, [=](float* p, Vec x) { store_part(p, x, left); });
}

FW_NAMESPACE_END
