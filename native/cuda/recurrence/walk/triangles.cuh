// Scores of the pairs among eight tokens, where no token stands between all pairs: a key fades step by step and meets
// what comes after it, in float32. Tensor cores have the pairs of earlier and later eights (fade.cu).
#pragma once
#include "octet.cuh"

namespace fw::cuda::walk {

// For a token j and the 7 - j after it there are 8 - j sums of reads and 7 - j of erases; so for j and 7 - j together
// 16, as many as lanes have a part of each: every lane is left with one sum of each of four such groups.
class Triangles {
 public:
  FW_DEVICE void add(const Octet& x) {
    FW_UNROLL for (int group = 0; group < 4; group++) {
      float parts[16] = {};
      multiply(parts, 0, x, group);
      multiply(parts, seconds(group), x, 7 - group);
      sums[group] += gathered(parts);
    }
  }

  // Calls visit(erases, t, j, sum) for the lane's sums, t and j counted in all of the chunk.
  template <class Visit>
  FW_DEVICE void each(const Visit& visit) const {
    FW_UNROLL for (int group = 0; group < 4; group++) {
      int number = lane() % 16, j = group;
      if (number >= seconds(group)) number -= seconds(group), j = 7 - group;
      const bool erases = number >= 8 - j;
      const int t = erases ? number - 7 + 2 * j : number + j;
      visit(erases, own_octet() + t, own_octet() + j, sums[group]);
    }
  }

 private:
  float sums[4] = {};

  // Where the sums of 7 - group begin.
  static FW_DEVICE constexpr int seconds(int group) { return 15 - 2 * group; }

  static FW_DEVICE void multiply(float (&parts)[16], int at, const Octet& x, int j) {
    float fading[4];
    unpack(fading, x.key[j]);
    FW_UNROLL for (int t = 0; t < 8; t++) {
      if (t < j) continue;
      float query[4], key[4];
      unpack(query, x.query[t]), unpack(key, x.key[t]);
      FW_UNROLL for (int i = 0; i < 4; i++) {
        if (t > j) fading[i] *= x.decay[t][i];
        parts[at + t - j] = fmaf(query[i], fading[i], parts[at + t - j]);
        if (t > j) parts[at + 7 + t - 2 * j] = fmaf(key[i], fading[i], parts[at + 7 + t - 2 * j]);
      }
    }
  }

  // Sums over sixteen lanes: lane l of them gets the one of parts[l].
  static FW_DEVICE float gathered(float (&parts)[16]) {
    FW_UNROLL for (int half = 8; half > 0; half /= 2) {
      const bool upper = lane() & half;
      FW_UNROLL for (int i = 0; i < 8; i++) {
        if (i >= half) continue;
        const float theirs = shuffleXor(upper ? parts[i] : parts[i + half], half);
        parts[i] = (upper ? parts[i + half] : parts[i]) + theirs;
      }
    }
    return parts[0];
  }
};

}  // namespace fw::cuda::walk
