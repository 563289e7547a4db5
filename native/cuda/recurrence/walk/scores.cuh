// What the walk through the chunks needs of one chunk and head, and what does not depend on the state, in the order in
// which it lies in shared memory. With b_t the sum of the log gates from the chunk's first token through token t, and A
// strictly lower triangular,
//   A_tj = beta_t (k_t . k_j) e^(b_t - b_j)      solve = (I + A)^-1      read_tj = scale (q_t . k_j) e^(b_t - b_j), j <= t
//   through_t = e^b_t      rest_t = e^(b_last - b_t)
// For the walk on, the columns of `solve` are multiplied by beta; the walk back needs it as it is.
// The matrices are sums of two numbers of bfloat16 each: where keys are alike, or strengths near 2, what comes of them is a
// difference of larger terms, for which one has too few digits (cuda.md 6.2).
#pragma once
#include <type_traits>

#include "../groups.cuh"
#include "tile.cuh"

namespace fw::cuda::walk {

// The matrices are lower triangular: of their blocks of sixteen, those above the diagonal are neither written nor read.
FW_DEVICE constexpr bool is_lower(int row, int column) { return column / 16 <= row / 16; }

// What a walk needs that reads nothing, and the rest.
struct alignas(128) WriteScores {
  float through[kTokens], rest[kTokens], beta[kTokens];
  float gates[kTokens];  // b_t, as a power of two
  uint16_t solve[kSquare], solve_low[kSquare];  // where the rule erases
};
struct Scores : WriteScores {
  uint16_t read[kSquare], read_low[kSquare];
};

// Fills [chunks, heads] of the group.
template <int K>
void prepare(const Context& cx, const Problem& p, Scores* scores, Direction direction);

// Zeros above the diagonal, where an engine multiplies whole columns: copies leave them alone.
template <class Some>
FW_DEVICE void clear_upper(Some& x, int whole_columns) {
  if (whole_columns == 16 || thread() >= 64) return;
  const int block = thread() / 32 * 32, place = at(block + thread() % 32 / 2, block + 16 + thread() % 2 * kPiece);
  const auto clear = [&](uint16_t* tile) { *reinterpret_cast<uint4*>(tile + place) = make_uint4(0, 0, 0, 0); };
  clear(x.solve), clear(x.solve_low);
  if constexpr (std::is_same_v<Some, Scores>) clear(x.read), clear(x.read_low);
}

// Begins to copy two of the matrices, the second right behind the first, in an order that leaves few threads idle: 128 of
// them copy the last sixteen rows of one, then the first and the third, then the second sixteen of both. Where a row has
// fewer pieces than eight, threads that copy together have rows whose pieces lie in different banks.
FW_DEVICE int row_of_four(int i) { return i / 4 % 2 * 4 + i / 8 % 4 + i / 32 % 2 * 8; }
FW_DEVICE int row_of_two(int i) { return i / 2 % 4 * 2 + i / 8 % 2 + i / 16 % 2 * 8; }
template <int kThreads>
FW_DEVICE void copy_lower(uint16_t* to, const uint16_t* from) {
  constexpr int kTogether = 128, kRounds = 2 * kTogether / kThreads;
  const int i = thread() % kTogether, first = thread() / kTogether * kSquare;
  const int last = at(48 + i / 8, i % 8 * kPiece);
  const int pair = row_of_two(i), four = row_of_four(i);
  const int others = i < 64   ? at(32 + four, i % 4 * kPiece)
                     : i < 96 ? at(32 + pair, 32 + i % 2 * kPiece)
                              : at(pair, i % 2 * kPiece);
  FW_UNROLL for (int round = 0; round < kRounds; round++) {
    const int matrix = first + round * kSquare;
    copyAsync16(to + matrix + last, from + matrix + last);
    copyAsync16(to + matrix + others, from + matrix + others);
  }
  const int second = at(16 + four, i % 4 * kPiece) + i / 64 * kSquare;
  if (first == 0) copyAsync16(to + second, from + second);
}

// Begins to copy those of a chunk and head that a walk in this direction needs.
template <Direction direction, int kThreads, class Some>
FW_DEVICE void copy_scores(Some& to, const Scores& from, bool erase) {
  if (thread() < kTokens / 4) {
    copyAsync16(to.through + 4 * thread(), from.through + 4 * thread());
    copyAsync16(to.rest + 4 * thread(), from.rest + 4 * thread());
  }
  if constexpr (std::is_same_v<Some, Scores>) {
    copy_lower<kThreads>(to.read, from.read);
  }
  if (!erase) return;
  if (direction == Direction::kBack && thread() < kTokens / 4) copyAsync16(to.beta + 4 * thread(), from.beta + 4 * thread());
  copy_lower<kThreads>(to.solve, from.solve);
}

}  // namespace fw::cuda::walk
