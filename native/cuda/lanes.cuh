// Neighbouring elements in one access of 8 or 16 bytes, as float32 in registers.
#pragma once
#include <type_traits>

#include "tile.cuh"

namespace fw::cuda {

// kLanes neighbouring elements of 8 or 16 bytes as float32, in one access.
template <class T, int kLanes>
struct Pack {
  static constexpr int kWords = kLanes * static_cast<int>(sizeof(T)) / 4;
  using Stored = std::conditional_t<kWords == 4, uint4, uint2>;

  static FW_DEVICE void widen(float (&x)[kLanes], const Stored& stored) {
    uint32_t words[4] = {stored.x, stored.y, 0, 0};
    if constexpr (kWords == 4) words[2] = stored.z, words[3] = stored.w;
    FW_UNROLL for (int v = 0; v < kLanes; v++) {
      if constexpr (sizeof(T) == 4) x[v] = fromBits(words[v]);
      else x[v] = v % 2 == 0 ? firstOfPair(words[v / 2]) : secondOfPair(words[v / 2]);
    }
  }
  static FW_DEVICE Stored narrow(const float (&x)[kLanes]) {
    uint32_t words[kWords];
    FW_UNROLL for (int i = 0; i < kWords; i++) {
      if constexpr (sizeof(T) == 4) words[i] = toBits(x[i]);
      else words[i] = toBfloat16Pair(x[2 * i], x[2 * i + 1]);
    }
    if constexpr (kWords == 4) return make_uint4(words[0], words[1], words[2], words[3]);
    else return make_uint2(words[0], words[1]);
  }
};
template <>
struct Pack<float, 1> {
  using Stored = float;
  static FW_DEVICE void widen(float (&x)[1], float stored) { x[0] = stored; }
  static FW_DEVICE float narrow(const float (&x)[1]) { return x[0]; }
};
template <>
struct Pack<uint16_t, 1> {
  using Stored = uint16_t;
  static FW_DEVICE void widen(float (&x)[1], uint16_t stored) { x[0] = fromBfloat16(stored); }
  static FW_DEVICE uint16_t narrow(const float (&x)[1]) { return toBfloat16(x[0]); }
};

// Whether rows that lie `apart` elements begin with whole 16 bytes.
inline bool lies_whole(const void* data, int64_t apart, DType dtype) {
  return reinterpret_cast<uintptr_t>(data) % 16 == 0 && apart % (dtype == kBfloat16 ? 8 : 4) == 0;
}

}  // namespace fw::cuda
