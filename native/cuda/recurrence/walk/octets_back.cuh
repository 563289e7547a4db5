// Gradients of eight tokens as pairs among themselves, where no token stands between all pairs, in float32: a key fades
// step by step and meets what comes after it, as in triangles.cuh.
#pragma once
#include "fading.cuh"
#include "score_gradients.cuh"

namespace fw::cuda::walk {

struct OctetGradients {
  float dq[8][4], dk[8][4], dgate[8][4];

  // Adds them; visit(t, x) gets the lane's part of what is erased of token t.
  template <bool kErases, class Visit>
  FW_DEVICE void add_pairs(const Octet& x, const ScoreGradients& scores, const float* betas, float scale,
                           const Visit& visit) {
    const int first = first_of_octet();
    float decay[8][4];  // from token j through the present one
    FW_UNROLL for (int t = 0; t < 8; t++) {
      float read[8], erase[8] = {}, removed = 0;
      ScoreGradients::take(read, scores.read, scores.read_low, first + t, first);
      if constexpr (kErases) ScoreGradients::take(erase, scores.erase, scores.erase_low, first + t, first);
      FW_UNROLL for (int j = 0; j <= t; j++) read[j] *= scale;
      const float beta = kErases ? betas[first + t] : 0;
      float query[4], key[4];
      unpack(query, x.query[t]), unpack(key, x.key[t]);
      FW_UNROLL for (int i = 0; i < 4; i++) {
        const float erased = -beta * key[i];
        float of_read = read[t] * key[i], of_erase = 0, passing = 0;
        dk[t][i] = fmaf(read[t], query[i], dk[t][i]);
        FW_UNROLL for (int j = 0; j < t; j++) {
          decay[j][i] *= x.decay[t][i];
          const float faded = decay[j][i] * key_of(x, j, i);
          float dwrite = read[j] * query[i];
          of_read = fmaf(read[j], faded, of_read);
          if constexpr (kErases) dwrite = fmaf(erase[j], erased, dwrite), of_erase = fmaf(erase[j], faded, of_erase);
          dk[j][i] = fmaf(decay[j][i], dwrite, dk[j][i]);
          passing = fmaf(faded, dwrite, passing);
          dgate[j + 1][i] += passing;
        }
        decay[t][i] = 1;
        dq[t][i] += of_read;
        if constexpr (!kErases) continue;
        dk[t][i] = fmaf(-beta, of_erase, dk[t][i]);
        removed = fmaf(key[i], of_erase, removed);
      }
      if constexpr (kErases) visit(first + t, removed);
    }
  }

 private:
  static FW_DEVICE float key_of(const Octet& x, int t, int i) {
    const uint32_t pair = i < 2 ? x.key[t].x : x.key[t].y;
    return i % 2 == 0 ? firstOfPair(pair) : secondOfPair(pair);
  }
};

}  // namespace fw::cuda::walk
