// Products of the four warps of a warpgroup, on compute capability 9.0: the engine of engine.cuh whose tiles are read once for
// all of them, and by the tensor cores themselves, while the warps go on.
#pragma once
#include "../../warpgroup.cuh"
#include "engine.cuh"

namespace fw::cuda::walk {

struct WarpgroupEngine {
  static constexpr int kWholeColumns = 32;

  // Rounded before products begin.
  template <int n>
  struct Rounded {
    uint32_t all[n / 2][4];
    FW_DEVICE explicit Rounded(const float (&sums)[n][4]) {
      FW_UNROLL for (int k = 0; k < n / 2; k++) round_to(all[k], sums, k);
    }
    FW_DEVICE void get(uint32_t (&left)[4], int k) const {
      FW_UNROLL for (int i = 0; i < 4; i++) left[i] = all[k][i];
    }
  };

  static FW_DEVICE void share() { fenceProxyAsync(); }
  template <class... Sums>
  static FW_DEVICE void begin(Sums&... sums) {
    (warpgroupHold(sums), ...);
    warpgroupFence();
  }
  static FW_DEVICE void close() { warpgroupCommit(); }
  template <int left = 0, class... Sums>
  static FW_DEVICE void end(Sums&... sums) {
    warpgroupWait<left>();
    (warpgroupHold(sums), ...);
  }

  template <int n>
  static FW_DEVICE void rows(float (&sums)[n][4], const uint32_t (&a)[4], const uint16_t* tile, int k) {
    warpgroupMultiply<false>(sums, a, of_rows(tile, 0, k));
  }
  template <int n>
  static FW_DEVICE void columns(float (&sums)[n][4], const uint32_t (&a)[4], const uint16_t* tile, int k) {
    warpgroupMultiply<true>(sums, a, matrixDescriptor(tile + at(16 * k, 0), kSquare * sizeof(uint16_t), kEight));
  }
  template <int n>
  static FW_DEVICE void columns(float (&sums)[n][4], const Factors& a, const uint16_t* tile, int k) {
    columns(sums, a.high, tile, k), columns(sums, a.low, tile, k);
  }
  template <int n>
  static FW_DEVICE void lower(float (&sums)[n][4], const Factors& a, const uint16_t* tile, int k, int column = 0) {
    lower(sums, a.high, tile, k, column), lower(sums, a.low, tile, k, column);
  }
  static FW_DEVICE void lower(float (&sums)[4][4], const uint32_t (&a)[4], const uint16_t* tile, int k, int column = 0) {
    rows(sums, a, tile, k + column / 16);
  }
  static FW_DEVICE void lower(float (&sums)[8][4], const uint32_t (&a)[4], const uint16_t* tile, int k, int column = 0) {
    if (k < 2) warpgroupMultiply<false>(half(sums, 0), a, of_rows(tile, 0, k + column / 16));
    warpgroupMultiply<false>(half(sums, 1), a, of_rows(tile, 32, k + column / 16));
  }

 private:
  static constexpr int kEight = 8 * 64 * sizeof(uint16_t);  // bytes of eight rows

  static FW_DEVICE uint64_t of_rows(const uint16_t* tile, int row, int k) {
    return matrixDescriptor(tile + moved(0, row, k / 4 * 64) + k % 4 * 16, 0, kEight);
  }
  using Half = float[4][4];
  static FW_DEVICE Half& half(float (&sums)[8][4], int i) { return reinterpret_cast<Half&>(sums[4 * i]); }
};

}  // namespace fw::cuda::walk
