// Decays of a chunk in shared memory, and what the lanes of a warp exchange there. Of tokens and keys a lane has either
// an octet, eight tokens and four keys (octet.cuh), or two tokens of each octet and two keys, as in a product of the
// tensor cores whose rows are keys: both ways a warp has sixteen keys and all tokens, and no other warp reads its part.
#pragma once
#include "octet.cuh"
#include "rows.cuh"

namespace fw::cuda::walk {

// Where a lane's two keys lie.
FW_DEVICE int own_row(int r) { return 16 * warp() + lane() / 4 + 8 * r; }
// The octet of all the warp's keys that a lane has: its first token, its first key.
FW_DEVICE int first_of_octet() { return lane() / 4 * 8; }
FW_DEVICE int key_of_octet() { return 16 * warp() + lane() % 4 * 4; }

template <int K>
struct alignas(16) TokensByKeys {
  float elements[kTokens * K];

  // Both ways of the lanes of a warp lead to different banks.
  static FW_DEVICE int place(int token, int key) {
    return token * K + (key ^ (token / 2 % 4 * 8) ^ (token / 8 % 2 * 16));
  }
  FW_DEVICE float at(int token, int key) const { return elements[place(token, key)]; }
  // The lane's own, as in Rows.
  static FW_DEVICE int own_place(int octet, int r, int e) {
    return (place(own_token(), own_row(0)) ^ (8 * r + octet % 2 * 16)) + (8 * octet + e) * K;
  }
  // Read again each time: there are no registers to keep it in.
  FW_DEVICE float at_own(int octet, int r, int e) const {
    return *static_cast<const volatile float*>(elements + own_place(octet, r, e));
  }

  // Four keys of token r of the lane's octet.
  static FW_DEVICE int octet_place(int r) {
    return (place(first_of_octet(), key_of_octet()) ^ (r / 2 * 8)) + r * K;
  }

  FW_DEVICE void put(int r, const float (&x)[4]) {
    float* const to = elements + octet_place(r);
    *reinterpret_cast<float4*>(to) = make_float4(x[0], x[1], x[2], x[3]);
  }
  // By all lanes of a warp: what they have as rows of keys they get as octets.
  FW_DEVICE void turn(const Rows& x, float (&octet)[8][4]) {
    warpSync();  // all have read what was there
    FW_UNROLL for (int i = 0; i < kTokens / 8; i++)
      FW_UNROLL for (int n = 0; n < 4; n++) elements[own_place(i, n / 2, n % 2)] = x[i][n];
    warpSync();
    FW_UNROLL for (int r = 0; r < 8; r++) {
      const float4 four = four_at(elements + octet_place(r));
      octet[r][0] = four.x, octet[r][1] = four.y, octet[r][2] = four.z, octet[r][3] = four.w;
    }
  }
};

// Rows of the warp's keys in bfloat16, as they lie in a left factor.
class TurnedRows {
 public:
  // From a tile whose rows are tokens.
  FW_DEVICE void take(const uint16_t* tile) {
    const int place = moved(at(lane() / 16 * 8 + lane() % 8, lane() / 8 % 2 * 8), 0, 16 * warp());
    FW_UNROLL for (int k = 0; k < kTokens / 16; k++) loadMatrixT(pairs[k], tile + moved(place, 16 * k, 0));
  }
  FW_DEVICE float operator()(int octet, int r, int e) const {
    const uint32_t pair = pairs[octet / 2][octet % 2 * 2 + r];
    return e == 0 ? firstOfPair(pair) : secondOfPair(pair);
  }

 private:
  uint32_t pairs[kTokens / 16][4];
};

// What is left of a key of each token at the end of its octet, and at the token since the octet's beginning.
template <int K>
struct Fading {
  TokensByKeys<K> through, rest;

  FW_DEVICE void put(const Octet& x) {
    const float one[4] = {1, 1, 1, 1};
    x.each_through(one, [&](int r, const float(&decay)[4]) { through.put(r, decay); });
    x.each_rest(one, [&](int r, const float(&decay)[4]) { rest.put(r, decay); });
  }
};

}  // namespace fw::cuda::walk
