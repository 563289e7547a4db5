// Products of sixteen rows in the registers of a warp with a tile in shared memory, on tensor cores. Another engine may
// take their place whose sums lie in registers as those of mma.sync do; wgmma's are alike.
//
//   Engine::share();                       // by every thread, between its writes to tiles and the barrier
//   float sums[n][4];                      // 16 x 8 n, in the layout of mmaBfloat16
//   Engine::begin(sums);                   // after the last change of sums, of any number of them, and of factors
//   Engine::rows(sums, a, tile, k);        // sums += a tile^T over sixteen terms: columns [16 k, 16 k + 16) of the tile
//   Engine::lower(sums, a, tile, k);       // the same of a lower triangular tile, or of one beside it from a column on
//   Engine::columns(sums, a, tile, k);     // sums += a tile   over sixteen terms: rows [16 k, 16 k + 16)
//   Engine::close();                       // ends a group of products
//   Engine::end<left>(sums);               // before the first use of sums: waits for all groups but the last `left`
//
// The left factor is one number of bfloat16 for each element, or the sum of two. Of the sums only the columns
// [first, beyond), multiples of 16, gain anything, whatever lies in the tile for others; the first one's column of the tile
// is `column`. Of a lower triangular tile those before 16 k are left out, down to a multiple of kWholeColumns: there the tile
// has zeros.
#pragma once
#include "tile.cuh"

namespace fw::cuda::walk {

struct Factors {
  uint32_t high[4], low[4];
};

// Sixteen columns of sums as the left factor of a product over them, rounded.
template <int n>
FW_DEVICE void round_to(uint32_t (&left)[4], const float (&sums)[n][4], int k) {
  FW_UNROLL for (int i = 0; i < 4; i++) {
    const float* const pair = &sums[2 * k + i / 2][i % 2 * 2];
    left[i] = toBfloat16Pair(pair[0], pair[1]);
  }
}

struct MmaEngine {
  static constexpr int kWholeColumns = 16;

  // Those of all columns, one after the other: sums stay as they are meanwhile.
  template <int n>
  struct Rounded {
    const float (&sums)[n][4];
    FW_DEVICE void get(uint32_t (&left)[4], int k) const { round_to(left, sums, k); }
  };

  static FW_DEVICE void share() {}
  template <class... Sums>
  static FW_DEVICE void begin(Sums&...) {}
  static FW_DEVICE void close() {}
  template <int left = 0, class... Sums>
  static FW_DEVICE void end(Sums&...) {}

  template <int n, class Left>
  static FW_DEVICE void rows(float (&sums)[n][4], const Left& a, const uint16_t* tile, int k, int first = 0,
                             int beyond = 8 * n) {
    const int l = lane(), place = at(l / 16 * 8 + l % 8, l / 8 % 2 * 8);
    multiply(sums, a, first, beyond, [&](uint32_t (&b)[4], int j) { loadMatrix(b, tile + moved(place, j, 16 * k)); });
  }
  template <int n, class Left>
  static FW_DEVICE void lower(float (&sums)[n][4], const Left& a, const uint16_t* tile, int k, int column = 0) {
    rows(sums, a, tile, k + column / 16, 16 * k);
  }
  template <int n, class Left>
  static FW_DEVICE void columns(float (&sums)[n][4], const Left& a, const uint16_t* tile, int k, int beyond = 8 * n,
                                int column = 0) {
    const int l = lane(), place = at(l / 8 % 2 * 8 + l % 8, l / 16 * 8);
    multiply(sums, a, 0, beyond,
             [&](uint32_t (&b)[4], int j) { loadMatrixT(b, tile + moved(place, 16 * k, column + j)); });
  }

 private:
  template <int n, class Load>
  static FW_DEVICE void multiply(float (&sums)[n][4], const uint32_t (&a)[4], int first, int beyond, const Load& load) {
    FW_UNROLL for (int j = 0; j < 8 * n; j += 16) {
      if (j < first || j >= beyond) continue;
      uint32_t b[4];
      load(b, j);
      add(sums, j, a, b);
    }
  }
  // Two blocks of sixteen columns at a time, so that no product waits for the sum of the one before.
  template <int n, class Load>
  static FW_DEVICE void multiply(float (&sums)[n][4], const Factors& a, int first, int beyond, const Load& load) {
    FW_UNROLL for (int j = 0; j < 8 * n; j += 32) {
      const bool left = j >= first && j < beyond, right = j + 16 >= first && j + 16 < beyond;
      uint32_t b[2][4];
      if (left) load(b[0], j);
      if (right) load(b[1], j + 16);
      if (left) add(sums, j, a.high, b[0]);
      if (right) add(sums, j + 16, a.high, b[1]);
      if (left) add(sums, j, a.low, b[0]);
      if (right) add(sums, j + 16, a.low, b[1]);
    }
  }
  template <int n>
  static FW_DEVICE void add(float (&sums)[n][4], int column, const uint32_t (&a)[4], const uint32_t (&b)[4]) {
    const uint32_t left[2] = {b[0], b[1]}, right[2] = {b[2], b[3]};
    mmaBfloat16(sums[column / 8], a, left);
    mmaBfloat16(sums[column / 8 + 1], a, right);
  }
};

}  // namespace fw::cuda::walk
