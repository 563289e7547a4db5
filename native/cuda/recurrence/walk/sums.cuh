// Gradients of strengths and gates of a chunk, from sums over its keys and pairs. With e_t what token t writes before its
// strength multiplies it, R_t = beta_t e_t,
//   dbeta_t = P_t . e_t,   e_t = v_t - through_t S^T k_t - sum_{j < t} (k_t . k_j) e^(b_t - b_j) R_j
// where R_t / beta_t has all digits of e_t, unless beta_t is 0. The gradient of gate m is the sum of what passes it, never a
// difference of sums: reads and erases at t >= m of the state before the chunk, writes at j < m into the state after it,
// reads and erases at t >= m of writes at j < m, and the state itself.
#pragma once
#include "scores.cuh"

namespace fw::cuda::walk {

// What reads and erases at t have of the write at j; then of those up to j.
struct PairSums {
  static constexpr int kRow = kTokens + 1;
  float elements[kTokens * kRow];
  FW_DEVICE float& at(int t, int j) { return elements[t * kRow + j]; }
};

template <int kThreads>
struct TokenSums {
  using Tokens = float[2][kTokens];  // by the halves of the keys, or of the pairs, that a warp has

  float gates[kTokens], beta[kTokens];
  float written[kTokens], values[kTokens];  // P_t . R_t and P_t . v_t
  Tokens of_read, of_erase, of_write;   // q_t . (S dO_t), k_t . (S P_t) and k_t . (dS R_t)
  Tokens of_pairs;                      // sum over j < t of (P_t . R_j) (k_t . k_j) e^(b_t - b_j)
  float across[kThreads / kWarp];       // S . dS, by warps
  float reads[kTokens], writes[kTokens];  // what they have of the state before the chunk, and the state after it of them

  // By all threads, each of which has a part of S . dS.
  FW_DEVICE void begin(const Scores& scores, float part) {
    if (thread() < kTokens) gates[thread()] = scores.gates[thread()], beta[thread()] = scores.beta[thread()];
    const float sum = warpSum(part);
    if (lane() == 0) across[warp()] = sum;
  }

  // Four lanes have a part each of token t's.
  FW_DEVICE void put(Tokens& to, int half, int t, float part) {
    part += shuffleXor(part, 1);
    part += shuffleXor(part, 2);
    if (lane() % 4 == 0) to[half][t] = part;
  }
  static FW_DEVICE float sum(const Tokens& of, int t) { return of[0][t] + of[1][t]; }

  // Of the warp's products P V^T of sixteen tokens with themselves.
  FW_DEVICE void put_own(int row, const float (&own)[2][4]) {
    FW_UNROLL for (int e = 0; e < 4; e++) {
      const int t = lane() / 4, j = lane() % 4 * 2 + e % 2;
      if (t == j) values[row + e / 2 * 8 + t] = own[e / 2][e];
    }
  }

  FW_DEVICE void put_strengths(const Problem& p, const Chunk& chunk, int64_t h, const Out& dbeta) const {
    const int t = thread();
    if (t >= chunk.count) return;
    const float at_zero = values[t] - exp2f(gates[t]) * sum(of_erase, t) - sum(of_pairs, t);
    store(dbeta, (chunk.begin + t) * p.heads + h, beta[t] == 0 ? at_zero : written[t] / beta[t]);
  }

  FW_DEVICE void put_gates(const Problem& p, const Chunk& chunk, int64_t h, PairSums& pairs, const Out& dgate) {
    const int own = thread();
    if (own < kTokens) {
      reads[own] = exp2f(gates[own]) * (p.scale * sum(of_read, own) - beta[own] * sum(of_erase, own));
      writes[own] = exp2f(gates[kTokens - 1] - gates[own]) * sum(of_write, own);
      float through = 0;
      for (int j = 0; j < own; j += 8) {
        float x[8];
        FW_UNROLL for (int i = 0; i < 8; i++) x[i] = pairs.at(own, j + i);
        FW_UNROLL for (int i = 0; i < 8; i++) pairs.at(own, j + i) = through += x[i];
      }
    }
    barrier();
    if (own >= chunk.count) return;
    float gradient = 0;
    FW_UNROLL for (int w = 0; w < kThreads / kWarp; w++) gradient += across[w];
    gradient *= exp2f(gates[kTokens - 1]);
    for (int t = 0; t < own; t++) gradient += writes[t];
    for (int t = own; t < kTokens; t++) gradient += reads[t] + (own > 0 ? pairs.at(t, own - 1) : 0);
    store(dgate, (chunk.begin + own) * p.heads + h, gradient);
  }
};

}  // namespace fw::cuda::walk
