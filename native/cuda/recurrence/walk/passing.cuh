// Gradients of gates of keys, from what a chunk's reads, erases and writes have of each other. A pair of a token s that
// reads or erases and a token j < s that has written passes the gates of tokens j + 1 to s: with x its part of the
// gradient, once for each of these. Pairs are those of runs that meet, the later one's tokens with all of the earlier
// one's. So a gate in the later run is passed by what it and the tokens after it have of the pairs, and one in the
// earlier run by what the tokens before it have: sums, never differences, however much is forgotten between them.
#pragma once
#include "rows.cuh"

namespace fw::cuda::walk {

// Keys in rows, tokens in columns: a lane has two tokens of each octet, whose gates are passed by what four neighbouring
// lanes have of its eight, and two keys.
class Passing {
 public:
  // What passes all gates of the octets from `first` to `beyond`.
  FW_DEVICE void add(int first, int beyond, int r, float part) {
    FW_UNROLL for (int octet = 0; octet < kTokens / 8; octet++) {
      if (octet >= first && octet < beyond) across[octet][r] += part;
    }
  }

  // Gradients of both gates, from what both tokens have in all later runs, and in all earlier ones.
  FW_DEVICE void sum_up(int octet, int r, const float (&later)[2], const float (&earlier)[2], float (&dgate)[2]) const {
    const int own = lane() % 4;
    const float both_later = later[0] + later[1], both_earlier = earlier[0] + earlier[1];
    float others = across[octet][r];
    FW_UNROLL for (int mask = 1; mask < 4; mask++) {
      others += shuffleXor(across[octet][r] + (own > (own ^ mask) ? both_later : both_earlier), mask);
    }
    dgate[0] = both_later + others, dgate[1] = later[1] + earlier[0] + others;
  }

 private:
  float across[kTokens / 8][2] = {};  // parts of what passes all gates of an octet
};

}  // namespace fw::cuda::walk
