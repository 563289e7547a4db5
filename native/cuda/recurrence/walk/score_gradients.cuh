// Gradients of a chunk's scores, lower triangular, as sums of two numbers of bfloat16, and with them those of strengths.
//   read_tj = dO_t . R_j, j <= t      erase_tj = P_t . R_j, j < t
// With e_t what token t writes before its strength multiplies it, R_t = beta_t e_t, and removed_t what is erased of it,
//   dbeta_t = P_t . e_t,   e_t = v_t - removed_t
// where R_t / beta_t has all digits of e_t, unless beta_t is 0: for such tokens P_t . removed_t is summed over keys.
#pragma once
#include "rows.cuh"

namespace fw::cuda::walk {

struct ScoreGradients {
  uint16_t read[kSquare], read_low[kSquare], erase[kSquare], erase_low[kSquare];

  // Two neighbours of a row.
  static FW_DEVICE void put(uint16_t* high, uint16_t* low, int t, int j, float x, float y) {
    const PairSplit pair = splitPair(x, y);
    *reinterpret_cast<uint32_t*>(high + at(t, j)) = pair.high;
    *reinterpret_cast<uint32_t*>(low + at(t, j)) = pair.low;
  }
  // Those of token t with eight tokens from j on.
  static FW_DEVICE void take(float (&x)[8], const uint16_t* high, const uint16_t* low, int t, int j) {
    const uint4& a = *reinterpret_cast<const uint4*>(high + at(t, j));
    const uint4& b = *reinterpret_cast<const uint4*>(low + at(t, j));
    const uint32_t highs[] = {a.x, a.y, a.z, a.w}, lows[] = {b.x, b.y, b.z, b.w};
    FW_UNROLL for (int i = 0; i < 4; i++) {
      x[2 * i] = firstOfPair(highs[i]) + firstOfPair(lows[i]);
      x[2 * i + 1] = secondOfPair(highs[i]) + secondOfPair(lows[i]);
    }
  }
};

template <int kWarps>
struct StrengthSums {
  alignas(16) float beta[kTokens];
  float written[kTokens], values[kTokens];  // P_t . R_t and P_t . v_t
  alignas(16) float removed[kWarps][kTokens];  // P_t . removed_t, of a warp's keys

  // Tokens beyond the last have some strength. A barrier makes it whole.
  FW_DEVICE void begin(const Problem& p, const Chunk& chunk, int64_t h) {
    for (int i = thread(); i < kTokens; i += kWarps * kWarp) {
      beta[i] = i < chunk.count ? beta_at(p, chunk.begin + i, h, 0) : 1;
    }
  }

  // By threads that have written the others.
  FW_DEVICE void put(const Problem& p, const Chunk& chunk, int64_t h, const Out& dbeta) const {
    barrier();
    const int t = thread();
    if (t >= chunk.count) return;
    float at_zero = values[t];
    FW_UNROLL for (int w = 0; w < kWarps; w++) at_zero -= removed[w][t];
    store(dbeta, (chunk.begin + t) * p.heads + h, beta[t] == 0 ? at_zero : written[t] / beta[t]);
  }
};

}  // namespace fw::cuda::walk
