// A factor of a product, its tiles in shared memory, and the copies that fill them.
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

// Lines and terms of a tile are at most so many, and rows of what lies side by side less than this apart in memory: a
// tile is within 2^31 elements.
constexpr int kMostLines = 256, kMostApart = INT32_MAX / kMostLines;

// 128 bytes of each of some lines: `kInner` elements side by side in each of `kOuter` rows.
template <class E, int kLines, Layout layout>
struct TileOf {
  using Element = E;
  static constexpr int kDepth = 128 / sizeof(E);
  static constexpr Layout kLayout = layout;
  static constexpr int kInner = layout == kAlongK ? kDepth : kLines, kOuter = layout == kAlongK ? kLines : kDepth;
  static_assert(kLines <= kMostLines && kDepth <= kMostLines, "offsets in it have 32 bits");
};

// Rows are padded so that the fragments of a warp lie in different banks.
template <class E, int kLines, Layout layout>
struct PaddedTile : TileOf<E, kLines, layout> {
  using Base = TileOf<E, kLines, layout>;
  static constexpr int kRow = Base::kInner + (layout == kAlongK ? kChunk<E> : 8), kSize = Base::kOuter * kRow;

  static FW_DEVICE int place(int outer, int inner) { return outer * kRow + inner; }
  static FW_DEVICE int at(int line, int k) { return layout == kAlongK ? place(line, k) : place(k, line); }
};

// The chunks of a row are exchanged by the number of the row, so that eight rows of a matrix that a warp loads lie in
// different banks. Rows are of 128 bytes at most: of more lines, each 64 are a tile by themselves. TMA and wgmma call it
// the swizzle of 128 bytes.
template <class E, int kLines, Layout layout>
struct SwizzledTile : TileOf<E, kLines, layout> {
  using Base = TileOf<E, kLines, layout>;
  static constexpr int kRow = Base::kInner < Base::kDepth ? Base::kInner : Base::kDepth;
  static constexpr int kPart = Base::kOuter * kRow, kSize = Base::kInner / kRow * kPart;

  static FW_DEVICE int place(int outer, int inner) {
    constexpr int kTurns = kRow / kChunk<E>;
    const int chunk = inner % kRow / kChunk<E> ^ outer / (8 / kTurns) % kTurns;
    return inner / kRow * kPart + outer * kRow + (chunk * kChunk<E> | inner % kChunk<E>);
  }
  static FW_DEVICE int at(int line, int k) { return layout == kAlongK ? place(line, k) : place(k, line); }
  // Where the element lies that is so many lines and terms after one, both multiples of 16: `lines` of the row that begins
  // with that one, and terms of the first sixteen. Constants, beside a place that a lane knows.
  static FW_DEVICE int moved(int place, int lines, int k) {
    return layout == kAlongK ? (place ^ k) + lines * kRow : (place ^ lines) + k * kRow;
  }
};

// A thread's part of the copies that fill tiles, step by step: the same chunks of each tile. Where they cannot be dealt out
// evenly to all threads of the block, only the first 256 have any. Terms beyond the last are zeros; lines beyond the
// last are copies of others, of which nothing is stored.
template <class Tile, int kAll>
class Copies {
  using E = typename Tile::Element;
  static constexpr bool kIsAlongK = Tile::kLayout == kAlongK;
  static constexpr int kPerRow = Tile::kInner / kChunk<E>;
  static constexpr bool isEven(int threads) { return threads % kPerRow == 0 && Tile::kOuter % (threads / kPerRow) == 0; }
  static constexpr int kThreads = isEven(kAll) ? kAll : 256;
  static constexpr int kRows = kThreads / kPerRow, kCount = Tile::kOuter / kRows;
  static_assert(kThreads <= kAll && isEven(kThreads), "no thread is without a chunk");

 public:
  // From line `line` of `lines` and term `k` of `depth` on, in a member of a factor in the tile's layout.
  FW_DEVICE void begin(const Factor& x, int64_t member, int64_t line, int64_t lines, int64_t k, int64_t depth) {
    const int64_t own = line + (kIsAlongK ? outer() : inner()), most = (lines - 1) / kLinesAtOnce * kLinesAtOnce;
    const int64_t first = own < most ? own : most, after = (most - first) / kRows;
    const int64_t term = k + (kIsAlongK ? inner() : outer());
    from_ = static_cast<const E*>(x.data) + member + first * x.line + term * x.k;
    apart_ = static_cast<int>(kRows * (kIsAlongK ? x.line : x.k));
    last_ = after < kCount ? static_cast<int>(after) : kCount - 1;
    left_ = static_cast<int>(depth - term);
  }

  // Begins to copy a step.
  FW_DEVICE void next(E* tile) {
    if (kThreads < kAll && thread() >= kThreads) return;
    FW_UNROLL for (int i = 0; i < kCount; i++) {
      const bool valid = kIsAlongK ? left_ > 0 : left_ > i * kRows;
      const int at = kIsAlongK && i > last_ ? last_ : i;
      copyAsync16(tile + Tile::place(outer() + i * kRows, inner()), from_ + at * apart_, valid);
    }
    from_ += kIsAlongK ? Tile::kDepth : int64_t{kCount} * apart_;
    left_ -= Tile::kDepth;
  }

 private:
  static constexpr int kLinesAtOnce = kIsAlongK ? 1 : kChunk<E>;
  static FW_DEVICE int outer() { return thread() / kPerRow; }
  static FW_DEVICE int inner() { return thread() % kPerRow * kChunk<E>; }

  const E* from_;
  int apart_;  // elements from a chunk to the next
  int last_;   // the last chunk whose line there is
  int left_;   // terms from the first chunk's on
};

}  // namespace fw::cuda::gemm
