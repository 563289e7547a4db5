// Gradients of strengths and gates of a chunk, from sums over its keys and pairs. With e_t what token t writes before its
// strength multiplies it, R_t = beta_t e_t,
//   dbeta_t = P_t . e_t,   e_t = v_t - through_t S^T k_t - sum_{j < t} (k_t . k_j) e^(b_t - b_j) R_j
// The gradient of gate m is the sum of what passes it, never a difference of sums: reads and erases at t >= m of the state before
// the chunk, writes at j < m into the state after it, reads and erases at t >= m of writes at j < m, and the state itself.
#pragma once
#include "gates.cuh"

namespace fw::cuda::float32 {

// What reads and erases at t have of the write at j; then of those up to j.
struct PairSums {
  static constexpr int kRow = kTokens + 1;
  float elements[kTokens * kRow];
  FW_DEVICE float& at(int t, int j) { return elements[t * kRow + j]; }
};

template <int kThreads>
struct TokenSums {
  static_assert(kThreads == 4 * kTokens, "four threads for each token");
  using Tokens = float[2][kTokens];  // by the halves of the keys, or of the pairs, that a warp has

  Gates gates;
  float beta[kTokens], values[kTokens];  // strengths, and P_t . v_t
  Tokens of_read, of_erase, of_write;    // q_t . (S dO_t), k_t . (S P_t) and k_t . (dS R_t)
  Tokens of_pairs;                       // sum over j < t of (P_t . R_j) (k_t . k_j) e^(b_t - b_j)
  float across[kThreads / kWarp];        // S . dS, by warps
  // What they have of the state before the chunk, and the state after it of them.
  float reads[kTokens], writes[kTokens];

  FW_DEVICE void begin(const Problem& p, const Chunk& chunk, int64_t h) {
    if (warp() == 1) gates.fill(p, chunk, h);
    if (warp() == 2) beta[lane()] = strength_of(p, chunk, h, lane());
  }

  // Four lanes have a part each of token t's.
  static FW_DEVICE float sum_of_four(float part) {
    part += shuffleXor(part, 1);
    return part + shuffleXor(part, 2);
  }
  FW_DEVICE void put(Tokens& to, int half, int t, float part) {
    const float sum = sum_of_four(part);
    if (lane() % 4 == 0) to[half][t] = sum;
  }
  // A thread's parts of S . dS, and of P . V for its token.
  FW_DEVICE void put_own(float of_states, float of_values) {
    const float state = warpSum(of_states), value = sum_of_four(of_values);
    if (lane() == 0) across[warp()] = state;
    if (lane() % 4 == 0) values[thread() / 4] = value;
  }
  static FW_DEVICE float sum(const Tokens& of, int t) { return of[0][t] + of[1][t]; }

  FW_DEVICE void put_strengths(const Problem& p, const Chunk& chunk, int64_t h, const Out& dbeta) const {
    const int t = thread();
    if (t >= chunk.count) return;
    store(dbeta, (chunk.begin + t) * p.heads + h, values[t] - gates.through(t) * sum(of_erase, t) - sum(of_pairs, t));
  }

  FW_DEVICE void put_gates(const Problem& p, const Chunk& chunk, int64_t h, PairSums& pairs, const Out& dgate) {
    const int own = thread();
    if (own < kTokens) {
      reads[own] = gates.through(own) * (p.scale * sum(of_read, own) - beta[own] * sum(of_erase, own));
      writes[own] = gates.rest(own) * sum(of_write, own);
      float through = 0;
      for (int j = 0; j < own; j++) pairs.at(own, j) = through += pairs.at(own, j);
    }
    barrier();
    if (own >= chunk.count) return;
    float gradient = 0;
    FW_UNROLL for (int w = 0; w < kThreads / kWarp; w++) gradient += across[w];
    gradient *= gates.through(kTokens - 1);
    for (int t = 0; t < own; t++) gradient += writes[t];
    for (int t = own; t < kTokens; t++) gradient += reads[t] + (own > 0 ? pairs.at(t, own - 1) : 0);
    store(dgate, (chunk.begin + own) * p.heads + h, gradient);
  }
};

}  // namespace fw::cuda::float32
