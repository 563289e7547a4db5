// What the walk through the chunks needs of one chunk and head, and what does not depend on the state. With b_t the sum of the
// log gates from the chunk's first token through token t, and A strictly lower triangular,
//   A_tj = beta_t (k_t . k_j) e^(b_t - b_j)      read_tj = scale (q_t . k_j) e^(b_t - b_j), j <= t
//   through_t = e^b_t      rest_t = e^(b_last - b_t)
// What is written is (I + A)^-1 of what strengths have multiplied. It is solved for by blocks of eight tokens, in which I + A is
// inverted beforehand; A and the inverses have more digits than float32. With strengths near 2 and keys that return, roundings
// of an inverse of the whole chunk would count ten times as much, and those of A by the square of its length (pairs.cu).
#pragma once
#include "../groups.cuh"
#include "products.cuh"

namespace fw::cuda::float32 {

// A lower triangular matrix in blocks of eight rows and columns, one row of blocks after the other; those above the diagonal
// are left out. For the walk back every block is turned.
constexpr int kBlocks = kTokens / 8, kLower = kBlocks * (kBlocks + 1) / 2 * 64;
static_assert(kBlocks == Part::kBlocks && kTokens == kTerms, "a chunk is what is added up at a time");
FW_HOST_DEVICE constexpr int block_at(int i, int k) { return (i * (i + 1) / 2 + k) * 64; }

struct alignas(16) Scores {
  float through[kTokens], rest[kTokens], beta[kTokens];
  float read[kLower];
  // Where the rule erases: A, but on the diagonal the inverses of its blocks of I + A; sums of two numbers of TF32, and what is
  // left.
  float erase[kLower], erase_low[kLower];
};

// Fills [chunks, heads] of the group.
template <int K>
void prepare(const Context& cx, const Problem& p, Scores* scores, Direction direction);

// Begins to copy those of a chunk and head.
template <int kThreads>
FW_DEVICE void copy_scores(Scores& to, const Scores& from, bool erase) {
  constexpr int kAll = sizeof(Scores) / 16, kErase = 2 * kLower * sizeof(float) / 16;
  const int count = erase ? kAll : kAll - kErase;
  FW_ROLLED for (int i = thread(); i < count; i += kThreads) {
    copyAsync16(reinterpret_cast<float4*>(&to) + i, reinterpret_cast<const float4*>(&from) + i);
  }
}

// Of block b of such a matrix, a lane's pair for RightOf and `left_of`.
FW_DEVICE float2 pair_of(const float* block) { return *reinterpret_cast<const float2*>(block + 2 * lane()); }

using Rows = float[kTokens / 8][4];  // of sums, whose columns are the tokens of a chunk

// part += rows lower^T
FW_DEVICE void add_lower(Part& part, const Rows& rows, const float* lower) {
  FW_UNROLL for (int k = 0; k < kBlocks; k++) {
    part.add(left_of(rows[k]), [&](int i) { return pair_of(lower + block_at(i, k)); }, k);
  }
}
// part += rows lower, whose blocks are turned
FW_DEVICE void add_turned(Part& part, const Rows& rows, const float* lower) {
  FW_UNROLL for (int k = 0; k < kBlocks; k++) {
    part.add(left_of(rows[k]), [&](int i) { return pair_of(lower + block_at(k, i)); }, 0, k + 1);
  }
}

// rows <- rows (I + A)^-T, or, from the last block to the first, rows (I + A)^-1 with blocks that are turned.
template <Direction direction>
FW_DEVICE void solve(Rows& rows, const Scores& scores) {
  constexpr bool kOn = direction == Direction::kOn;
  Part erased;
  FW_UNROLL for (int step = 0; step < kBlocks; step++) {
    const int k = kOn ? step : kBlocks - 1 - step;
    FW_UNROLL for (int e = 0; e < 4; e++) rows[k][e] -= erased.total(k, e);
    // Of all blocks that meet this one: its own, whose inverse it is, and those that are still to be solved for.
    const auto add = [&](auto& part, int first, int beyond) {
      const Left left = left_of(rows[k]);
      const auto place = [&](int i) { return kOn ? block_at(i, k) : block_at(k, i); };
      part.add(left, [&](int i) { return pair_of(scores.erase + place(i)); }, first, beyond);
      part.add_low(left, [&](int i) { return pair_of(scores.erase_low + place(i)); }, first, beyond);
    };
    Part own;
    add(own, k, k + 1);
    FW_UNROLL for (int e = 0; e < 4; e++) rows[k][e] = own.total(k, e);
    if (kOn) add(erased, k + 1, kBlocks);
    else add(erased, 0, k);
  }
}

}  // namespace fw::cuda::float32
