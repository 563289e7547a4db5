// Eight tokens and four keys of a lane. Decays are products of those of single tokens, each at most 1 and right to
// float32 however strong the gates are, never quotients or exponentials of differences.
#pragma once
#include "tile.cuh"

namespace fw::cuda::walk {

// Of the sixteen tokens and 64 keys that a warp of fade.cu works on, lanes 16 and on have the last eight tokens.
FW_DEVICE bool is_later() { return lane() >= kWarp / 2; }
// The first of the lane's keys, and of its tokens in the chunk.
FW_DEVICE int own_key() { return lane() % 16 * 4; }
FW_DEVICE int own_octet() { return lane() / 16 * 8 + 16 * warp(); }

FW_DEVICE void unpack(float (&x)[4], const uint2& pairs) {
  x[0] = firstOfPair(pairs.x), x[1] = secondOfPair(pairs.x), x[2] = firstOfPair(pairs.y), x[3] = secondOfPair(pairs.y);
}

// Where what the lane reads begins, and how many of its tokens there are.
struct OctetSource {
  Source keys, queries;
  int64_t gate;  // among all gates
  int tokens;
};
FW_DEVICE OctetSource octet_source(const Problem& p, const Chunk& chunk, int64_t h, int octet, int key) {
  const int64_t first = chunk.begin + octet;
  return {source_of(p.k, p.heads, h, first, key), source_of(p.q, p.heads, h, first, key),
          first * p.gate.token + h * p.gate.count / p.heads * p.gate.head + key, chunk.count - octet};
}

struct Octet {
  float decay[8][4];       // e^gate
  uint2 key[8], query[8];  // pairs of bfloat16

  // From key `column` on. Tokens beyond the last have no gate, no key and no query.
  FW_DEVICE void load(const OctetSource& from, const Heads& gates, int column) {
    FW_UNROLL for (int r = 0; r < 8; r++) {
      const bool live = r < from.tokens;
      key[r] = live ? *reinterpret_cast<const uint2*>(from.keys.data + r * from.keys.token + column) : uint2{};
      query[r] = live ? *reinterpret_cast<const uint2*>(from.queries.data + r * from.queries.token + column) : uint2{};
    }
    if (gates.dtype == kBfloat16) {
      const uint16_t* const first = reinterpret_cast<const uint16_t*>(gates.data) + from.gate + column;
      FW_UNROLL for (int r = 0; r < 8; r++) {
        unpack(decay[r], r < from.tokens ? *reinterpret_cast<const uint2*>(first + r * gates.token) : uint2{});
      }
    } else {
      FW_UNROLL for (int r = 0; r < 8; r++) {
        const float4 x = r < from.tokens ? four_at(gates.data + from.gate + column + r * gates.token) : float4{};
        decay[r][0] = x.x, decay[r][1] = x.y, decay[r][2] = x.z, decay[r][3] = x.w;
      }
    }
    constexpr float kLog2e = 1.44269504f;
    FW_UNROLL for (int r = 0; r < 8; r++)
      FW_UNROLL for (int i = 0; i < 4; i++) decay[r][i] = exp2f(kLog2e * decay[r][i]);
  }

  // Calls visit(r, x) for tokens r with `start` times the decays of the tokens through r,
  template <class Visit>
  FW_DEVICE void each_through(const float (&start)[4], const Visit& visit) const {
    float x[4] = {start[0], start[1], start[2], start[3]};
    FW_UNROLL for (int r = 0; r < 8; r++) {
      FW_UNROLL for (int i = 0; i < 4; i++) x[i] *= decay[r][i];
      visit(r, x);
    }
  }
  // or with `start` times those of the tokens after r.
  template <class Visit>
  FW_DEVICE void each_rest(const float (&start)[4], const Visit& visit) const {
    float x[4] = {start[0], start[1], start[2], start[3]};
    FW_UNROLL for (int r = 7; r >= 0; r--) {
      visit(r, x);
      FW_UNROLL for (int i = 0; i < 4; i++) x[i] *= decay[r][i];
    }
  }
};

// Four neighbours of a key or a query, faded: as a number of bfloat16 each, or as the sum of two.
struct FadedFour {
  PairSplit first, second;
};
FW_DEVICE FadedFour faded_four(const uint2& x, const float (&fading)[4]) {
  float own[4];
  unpack(own, x);
  return {splitPair(own[0] * fading[0], own[1] * fading[1]), splitPair(own[2] * fading[2], own[3] * fading[3])};
}
FW_DEVICE void put_faded(uint16_t* to, const uint2& x, const float (&fading)[4]) {
  const FadedFour four = faded_four(x, fading);
  *reinterpret_cast<uint2*>(to) = make_uint2(four.first.high, four.second.high);
}
FW_DEVICE void put_faded(uint16_t* high, uint16_t* low, const uint2& x, const float (&fading)[4]) {
  const FadedFour four = faded_four(x, fading);
  *reinterpret_cast<uint2*>(high) = make_uint2(four.first.high, four.second.high);
  *reinterpret_cast<uint2*>(low) = make_uint2(four.first.low, four.second.low);
}

}  // namespace fw::cuda::walk
