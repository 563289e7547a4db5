// The inner products of warpgroups.
#pragma once
#include "../warpgroup.cuh"
#include "sums.cuh"

namespace fw::cuda::gemm {

// Those of bfloat16 by warpgroups, whose warps have sixteen rows each. A step is still multiplied while the next begins.
struct WarpgroupProducts : Bfloat16Products {
  static constexpr int kLag = 1, kTogether = 4, kAlignment = 1024;
  static bool isFor(const Context& cx) { return cx.warpgroups; }
  static FW_DEVICE void begin() { fenceProxyAsync(); }
  static FW_DEVICE void finish() { warpgroupWait<0>(); }

  template <class A, class B, int kN>
  static FW_DEVICE void multiply(Sums<1, kN>& sums, const uint16_t* a, int row, const uint16_t* b, int column) {
    warpgroupFence();
    FW_UNROLL for (int k = 0; k < A::kDepth; k += 16) {
      warpgroupMultiply<A::kLayout == kAlongLines, B::kLayout == kAlongLines>(
          sums.at[0], descriptor<A>(a, row / 64 * 64, k), descriptor<B>(b, column, k));
    }
    warpgroupCommit();
    warpgroupWait<1>();
  }

 private:
  // Of lines from a multiple of 64 on and terms from one of 16.
  template <class Tile>
  static FW_DEVICE uint64_t descriptor(const uint16_t* tile, int line, int k) {
    constexpr int kEight = 8 * Tile::kRow * sizeof(uint16_t), kPart = Tile::kPart * sizeof(uint16_t);
    const int from = Tile::kLayout == kAlongK ? line * Tile::kRow + k : line / 64 * Tile::kPart + k * Tile::kRow;
    return matrixDescriptor(tile + from, kPart, kEight);
  }
};

}  // namespace fw::cuda::gemm
