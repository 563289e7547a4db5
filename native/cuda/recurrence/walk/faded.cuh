// What the walk needs of half a chunk and a head where every key has a gate of its own, and what does not depend on the
// state. Such gates cannot leave the product of two keys: keys and queries fade before they are multiplied. With b_t
// the sums of the log gates from the half's first token through token t, one for each key i,
//   queries_t = scale q_t e^b_t     erase_t = k_t e^b_t     write_t = k_t e^(b_last - b_t)     through = e^b_last
//   read_tj = scale sum_i q_ti k_ji e^(b_ti - b_ji), j <= t
//   A_tj = beta_t sum_i k_ti k_ji e^(b_ti - b_ji), j < t       solve = (I + A)^-1 diag(beta)
// For the walk on; the walk back needs `solve` without the strengths, which stand beside it.
// All but the queries are sums of two numbers of bfloat16 where the rule erases: an error in what is written stays in
// the state, and strengths near 2 forget none (cuda.md 6.2).
#pragma once
#include "scores.cuh"

namespace fw::cuda::walk {

// A half has so many tokens: with half of a chunk's, two stages of shared memory fit, and fewer products are of pairs.
constexpr int kHalf = kTokens / 2;
// From the rows of high parts of a tile to those of low parts.
constexpr int kLow = kHalf * 64;

template <int K>
struct alignas(128) Faded {
  float through[K];
  uint16_t erase[kTokens * K], write[kTokens * K];  // tiles: rows [0, kHalf) high parts, the others low parts
  uint16_t pairs[kSquare];      // a tile: `read` in columns [0, kHalf), its low parts beside it, below them `solve`
  uint16_t queries[kHalf * K];  // [kHalf, K]
  float beta[kHalf];            // where the rule erases
};

// Fills [chunks, heads, 2] of the group.
template <int K>
void fade(const Context& cx, const Problem& p, Faded<K>* faded, Direction direction);

// Begins to copy the first kRows rows of a tile.
template <int kColumns, int kThreads, int kRows>
FW_DEVICE void copy_tile(uint16_t* to, const uint16_t* from) {
  constexpr int kStep = kThreads * kPiece;
  static_assert(kRows * 64 % kStep == 0, "no thread is without a piece");
  const int own = thread() * kPiece;
  FW_UNROLL for (int column = 0; column < kColumns; column += 64)
    FW_UNROLL for (int step = 0; step < kRows * 64; step += kStep) {
      const int place = own + column * kTokens + step;
      copyAsync16(to + place, from + place);
    }
}

}  // namespace fw::cuda::walk
