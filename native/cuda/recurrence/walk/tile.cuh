// Tiles of bfloat16 in shared memory. Rows are 64 columns, 128 bytes, whose pieces of 16 bytes are exchanged by the number
// of the row, so that eight rows of a fragment lie in different banks; TMA and wgmma call it the swizzle of 128 bytes. Of
// wider tiles, each 64 columns are a tile by themselves.
#pragma once
#include "../problem.cuh"

namespace fw::cuda::walk {

// Tokens of a chunk: rows of every tile.
constexpr int kTokens = 64;
// Elements that are copied at once, and those of a square tile.
constexpr int kPiece = 8, kSquare = kTokens * 64;

// Where element (row, column) lies.
FW_DEVICE constexpr int at(int row, int column) {
  return column / 64 * kSquare + row * 64 + ((column % 64 / kPiece) ^ (row % 8)) * kPiece + column % kPiece;
}
// Where the element lies that is so many rows further down, a multiple of 8, and so many columns, a multiple of 16, to the
// right of one in the first 16 columns: constants, beside a place that a lane knows.
FW_DEVICE constexpr int moved(int place, int rows, int columns) {
  return columns / 64 * kSquare + rows * 64 + (place ^ columns % 64);
}

// Four neighbours, aligned to 16 bytes.
FW_DEVICE const float4& four_at(const float* x) { return *reinterpret_cast<const float4*>(x); }
// Two, aligned to 8.
FW_DEVICE const float2& pair_at(const float* x) { return *reinterpret_cast<const float2*>(x); }

// The head of an operand that serves head h.
FW_DEVICE int64_t own_head(const Heads& x, int64_t heads, int64_t h) {
  return x.count == heads ? h : divide(h * x.count, heads).quotient;
}

// A head's rows in global memory, from some token on.
struct Source {
  const uint16_t* data;
  int64_t token;  // elements from a token's row to the next one's
};
FW_DEVICE Source source_of(const Heads& x, int64_t heads, int64_t h, int64_t begin, int column = 0) {
  return {reinterpret_cast<const uint16_t*>(x.data) + begin * x.token + own_head(x, heads, h) * x.head + column, x.token};
}

// Begins to copy `count` rows from the source's row `begin` on, with zeros up to kRows and beyond the `width` columns
// that there are. By all threads of the block.
template <int kColumns, int kThreads, int kRows = kTokens>
FW_DEVICE void copy_rows(uint16_t* tile, const Source& x, int64_t begin, int count, int width = kColumns) {
  constexpr int kPerRow = kColumns / kPiece, kStep = kThreads / kPerRow;
  static_assert(kThreads % kPerRow == 0 && kRows % kStep == 0 && kStep % 8 == 0, "no thread is without a piece");
  const int top = thread() / kPerRow, column = thread() % kPerRow * kPiece, place = at(top, column);
  const uint16_t* from = x.data + (begin + top) * x.token + column;
  const int rows = column < width ? count - top : 0;
  FW_UNROLL for (int step = 0; step < kRows; step += kStep) {
    copyAsync16(tile + moved(place, step, 0), step < rows ? from : x.data, step < rows);
    from += kStep * x.token;
  }
}

}  // namespace fw::cuda::walk
