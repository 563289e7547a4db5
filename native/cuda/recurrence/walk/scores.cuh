// What the walk through the chunks needs of one chunk and head, and what does not depend on the state, in the order in
// which it lies in shared memory. With b_t the sum of the log gates from the chunk's first token through token t, and A
// strictly lower triangular,
//   A_tj = beta_t (k_t . k_j) e^(b_t - b_j)      solve = (I + A)^-1      read_tj = scale (q_t . k_j) e^(b_t - b_j), j <= t
//   through_t = e^b_t      rest_t = e^(b_last - b_t)
// For the walk on, the columns of `solve` are multiplied by beta; the walk back needs it as it is.
// The matrices are sums of two numbers of bfloat16 each: where keys are alike, or strengths near 2, what comes of them is a
// difference of larger terms, for which one has too few digits (cuda.md 6.2).
#pragma once
#include "../groups.cuh"
#include "tile.cuh"

namespace fw::cuda::walk {

// The matrices are lower triangular: of their blocks of sixteen, those above the diagonal are neither written nor read.
FW_DEVICE constexpr bool is_lower(int row, int column) { return column / 16 <= row / 16; }

struct alignas(128) Scores {
  float through[kTokens], rest[kTokens], beta[kTokens];
  float gates[kTokens];  // b_t, as a power of two
  uint16_t read[kSquare], read_low[kSquare];
  uint16_t solve[kSquare], solve_low[kSquare];  // where the rule erases
};

// Fills [chunks, heads] of the group.
template <int K>
void prepare(const Context& cx, const Problem& p, Scores* scores, Direction direction);

template <int kThreads>
FW_DEVICE void copy_lower(uint16_t* to, const uint16_t* from) {
  constexpr int kPerRow = 64 / kPiece, kStep = kThreads / kPerRow;
  const int top = thread() / kPerRow, column = thread() % kPerRow * kPiece, place = at(top, column);
  FW_UNROLL for (int step = 0; step < kTokens; step += kStep) {
    const int moves = moved(place, step, 0);
    if (is_lower(top + step, column)) copyAsync16(to + moves, from + moves);
  }
}

// Begins to copy those of a chunk and head that a walk in this direction needs; `read` where it reads, too.
template <Direction direction, int kThreads>
FW_DEVICE void copy_scores(Scores& to, const Scores& from, bool erase, bool read = true) {
  if (thread() < kTokens / 4) {
    copyAsync16(to.through + 4 * thread(), from.through + 4 * thread());
    copyAsync16(to.rest + 4 * thread(), from.rest + 4 * thread());
  }
  if (read) {
    copy_lower<kThreads>(to.read, from.read);
    copy_lower<kThreads>(to.read_low, from.read_low);
  }
  if (!erase) return;
  if (direction == Direction::kBack && thread() < kTokens / 4) copyAsync16(to.beta + 4 * thread(), from.beta + 4 * thread());
  copy_lower<kThreads>(to.solve, from.solve);
  copy_lower<kThreads>(to.solve_low, from.solve_low);
}

}  // namespace fw::cuda::walk
