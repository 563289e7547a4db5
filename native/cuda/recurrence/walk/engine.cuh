// Products of sixteen rows in the registers of a warp with a tile in shared memory, on tensor cores. Another engine may
// take their place whose sums lie in registers as those of mma.sync do; wgmma's are alike.
//
//   float sums[n][4];                      // 16 x 8 n, in the layout of mmaBfloat16
//   Engine::begin();                       // after the last change of sums and factors
//   Engine::rows(sums, a, tile, k);        // sums += a tile^T over sixteen terms: columns [16 k, 16 k + 16) of the tile
//   Engine::columns(sums, a, tile, k);     // sums += a tile   over sixteen terms: rows [16 k, 16 k + 16)
//   Engine::end();                         // before the first use of sums
#pragma once
#include "tile.cuh"

namespace fw::cuda::walk {

struct MmaEngine {
  static FW_DEVICE void begin() {}
  static FW_DEVICE void end() {}

  // Rows of the tile before `first`, a multiple of 16, count as zero in these columns, whatever lies there.
  template <int n>
  static FW_DEVICE void rows(float (&sums)[n][4], const uint32_t (&a)[4], const uint16_t* tile, int k, int first = 0) {
    const int l = lane(), place = at(l / 16 * 8 + l % 8, l / 8 % 2 * 8);
    FW_UNROLL for (int j = 0; j < n / 2; j++) {
      if (16 * j < first) continue;
      uint32_t b[4];
      loadMatrix(b, tile + moved(place, 16 * j, 16 * k));
      multiply_both(sums[2 * j], sums[2 * j + 1], a, b);
    }
  }
  template <int n>
  static FW_DEVICE void columns(float (&sums)[n][4], const uint32_t (&a)[4], const uint16_t* tile, int k) {
    const int l = lane(), place = at(l / 8 % 2 * 8 + l % 8, l / 16 * 8);
    FW_UNROLL for (int j = 0; j < n / 2; j++) {
      uint32_t b[4];
      loadMatrixT(b, tile + moved(place, 16 * k, 16 * j));
      multiply_both(sums[2 * j], sums[2 * j + 1], a, b);
    }
  }

 private:
  static FW_DEVICE void multiply_both(float (&left)[4], float (&right)[4], const uint32_t (&a)[4],
                                      const uint32_t (&b)[4]) {
    const uint32_t first[2] = {b[0], b[1]}, second[2] = {b[2], b[3]};
    mmaBfloat16(left, a, first);
    mmaBfloat16(right, a, second);
  }
};

}  // namespace fw::cuda::walk
