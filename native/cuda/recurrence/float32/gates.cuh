// Decays among the tokens of a chunk, from the sums of its gates. They are kept in twice the digits of float32, so that their
// differences are as good as sums of the gates between two tokens, whatever stronger gates came before.
#pragma once
#include "../../exact.cuh"
#include "tile.cuh"

namespace fw::cuda::float32 {

// e^x is 0 in float32 here: what a token forgets more thoroughly, infinity included, is not told apart.
constexpr float kForgotten = -110;

struct Gates {
  float sums[kTokens], rests[kTokens];  // of the log gates from the chunk's first token on

  // By one warp, a lane for each token; those beyond the last have no gate.
  FW_DEVICE void fill(const Problem& p, const Chunk& chunk, int64_t h) {
    const int t = lane();
    const float gate = t < chunk.count && p.gateWidth > 0 ? load(p.gate, chunk.begin + t, h, p.heads, 0) : 0;
    Sum through{gate < kForgotten ? kForgotten : gate};
    for (int distance = 1; distance < kTokens; distance *= 2) {
      const int from = t >= distance ? t - distance : 0;
      const Sum before = {shuffle(through.value, from), shuffle(through.rest, from)};
      if (t >= distance) through.add(before);
    }
    sums[t] = through.value, rests[t] = through.rest;
  }

  // e to the sum of the gates after token j through token t >= j,
  FW_DEVICE float between(int t, int j) const { return expf((sums[t] - sums[j]) + (rests[t] - rests[j])); }
  // through token t, and after it.
  FW_DEVICE float through(int t) const { return expf(sums[t] + rests[t]); }
  FW_DEVICE float rest(int t) const { return between(kTokens - 1, t); }
};

// The strength of token t, 0 beyond the last one and where the rule does not erase.
FW_DEVICE float strength_of(const Problem& p, const Chunk& chunk, int64_t h, int t) {
  if (!p.erase || t >= chunk.count) return 0;
  return p.betaWidth > 0 ? load(p.beta, chunk.begin + t, h, p.heads, 0) : 1;
}

}  // namespace fw::cuda::float32
