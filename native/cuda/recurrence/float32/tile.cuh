// Tiles of float32 in shared memory. Of every 32 columns the pieces of four are exchanged by the number of the row, so that
// what the lanes of a warp read of it at once lies in different banks: eight rows of four columns, four rows of four pairs,
// and four rows of eight columns, of even rows or odd ones.
#pragma once
#include "../problem.cuh"

namespace fw::cuda::float32 {

// Tokens of a chunk.
constexpr int kTokens = 32;
// Elements that are copied at once.
constexpr int kPiece = 4;

// By what the columns of a row are exchanged.
FW_DEVICE constexpr int exchange_of(int row) { return kPiece * (((row ^ (row >> 2 & 1)) & 3) << 1 | (row >> 2 & 1)); }

// Where element (row, column) of a tile with so many columns, a multiple of 32, lies.
template <int kColumns>
FW_DEVICE constexpr int at(int row, int column) {
  return row * kColumns + (column ^ exchange_of(row));
}
// Where the element lies that is so many rows further down, and so many columns, both multiples of 8, to the right of one in
// the first eight columns: constants, beside a place that a lane knows.
template <int kColumns>
FW_DEVICE constexpr int moved(int place, int rows, int columns) {
  return rows * kColumns + columns / 32 * 32 + (place ^ columns % 32);
}

// A head's rows in global memory, from some token and column on.
struct Source {
  const float* data;
  int64_t token;  // elements from a token's row to the next one's
};
FW_DEVICE Source source_of(const Heads& x, int64_t heads, int64_t h, int64_t begin, int column = 0) {
  const int64_t head = x.count == heads ? h : divide(h * x.count, heads).quotient;
  return {x.data + begin * x.token + head * x.head + column, x.token};
}

// Begins to copy `count` rows from the source's row `begin` on, with zeros up to kRows and beyond the `width` columns
// that there are. By all threads of the block.
template <int kColumns, int kThreads, int kRows = kTokens>
FW_DEVICE void copy_rows(float* tile, const Source& x, int64_t begin, int count, int width = kColumns) {
  constexpr int kPerRow = kColumns / kPiece, kStep = kThreads / kPerRow;
  static_assert(kThreads % kPerRow == 0 && kRows % kStep == 0, "no thread is without a piece");
  const int top = thread() / kPerRow, column = thread() % kPerRow * kPiece;
  const float* from = x.data + (begin + top) * x.token + column;
  const int rows = column < width ? count - top : 0;
  FW_ROLLED for (int step = 0; step < kRows; step += kStep) {
    copyAsync16(tile + at<kColumns>(top + step, column), step < rows ? from : x.data, step < rows);
    from += kStep * x.token;
  }
}

}  // namespace fw::cuda::float32
