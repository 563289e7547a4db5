// A factor of a product, and its tiles in shared memory.
#pragma once
#include "../operand.cuh"

namespace fw::cuda::gemm {

// What lies side by side in memory: the terms of a line, or the lines of a term.
enum Layout { kAlongK, kAlongLines };

// One side of a batch of products. Its lines are the rows of the left factor and the columns of the right one, so that
// both are read alike: element (line, k) of member (i, j), by strides.
struct Factor {
  const void* data = nullptr;
  DType dtype = kFloat32;
  int64_t batch1 = 0, batch2 = 0, line = 0, k = 0;

  Layout layout() const { return k == 1 || line != 1 ? kAlongK : kAlongLines; }
  FW_DEVICE int64_t member(int64_t i, int64_t j) const { return i * batch1 + j * batch2; }
};

// Elements that are copied at once: 16 bytes.
template <class Element>
constexpr int kChunk = 16 / sizeof(Element);

// 128 bytes of each of some lines. Rows are padded so that the fragments of a warp, and the rows of the matrices that
// it loads, lie in different banks.
template <class E, int kLines, Layout layout>
struct Tile {
  using Element = E;
  static constexpr int kDepth = 128 / sizeof(E);
  static constexpr Layout kLayout = layout;
  static constexpr int kInner = layout == kAlongK ? kDepth : kLines, kOuter = layout == kAlongK ? kLines : kDepth;
  static constexpr int kRow = kInner + (layout == kAlongK ? kChunk<E> : 8);
  static constexpr int kSize = kOuter * kRow;

  static FW_DEVICE int at(int line, int k) { return layout == kAlongK ? line * kRow + k : k * kRow + line; }

  // Begins to copy lines [line, ...) of the `lines` there are and terms [k, ...) of `depth`, zeros beyond, of a factor
  // in this layout whose member begins at `base`; by all threads of the block.
  template <int kThreads>
  static FW_DEVICE void copy(E* tile, const Factor& x, int64_t base, int64_t line, int64_t lines, int64_t k,
                             int64_t depth) {
    constexpr int kPerRow = kInner / kChunk<E>, kChunks = kOuter * kPerRow;
    static_assert(kChunks % kThreads == 0, "no thread is without a chunk");
    const E* data = static_cast<const E*>(x.data) + base;
    FW_UNROLL for (int first = 0; first < kChunks; first += kThreads) {
      const int i = first + thread(), outer = i / kPerRow, inner = i % kPerRow * kChunk<E>;
      const int64_t l = line + (layout == kAlongK ? outer : inner), p = k + (layout == kAlongK ? inner : outer);
      const bool valid = l < lines && p < depth;
      copyAsync16(tile + outer * kRow + inner, data + (valid ? l * x.line + p * x.k : 0), valid);
    }
  }
};

}  // namespace fw::cuda::gemm
