// (I + A)^-1 of a strictly lower triangular A of 64 rows, in float32, by a block of four warps: blocks of 16 on the
// diagonal by substitution, then pairs of blocks together,
//   (X0    )^-1     (X0^-1                 )
//   (A   X1)     =  (-X1^-1 A X0^-1   X1^-1)
// with products exact to float32: in fewer digits they fail for keys that are alike (cuda.md 6.2).
#pragma once
#include "tile.cuh"

namespace fw::cuda::walk {

struct BlockInverse {
  static constexpr int kRow = kTokens + 4, kProductRow = 32 + 4;
  alignas(16) float matrix[kTokens * kRow];  // A below the diagonal; then the inverse, but for the blocks above it
  float product[32 * kProductRow];

  // By threads that have written A; afterwards all may read all.
  FW_DEVICE void invert() {
    invert_halves();
    join_halves();
    barrier();
  }
  // Two matrices of 32 rows, one after the other on the diagonal.
  FW_DEVICE void invert_halves() {
    barrier();
    if (warp() < 2) {
      substitute(32 * warp() + lane() / 16 * 16);
      warpSync();
      join_sixteens(32 * warp());
    }
    barrier();
  }

 private:
  FW_DEVICE float* block_at(int row, int column) { return matrix + row * kRow + column; }
  static FW_DEVICE auto element_of(const float* x, int stride) {
    return [=](int r, int c) { return x[r * stride + c]; };
  }

  // A lane has a column of the block from (at, at) on: of two blocks in a warp, what both read takes as long as of one.
  FW_DEVICE void substitute(int at) {
    const int column = lane() % 16;
    float x[16];
    FW_UNROLL for (int r = 0; r < 16; r++) {
      float sum = r == column ? 1 : 0;
      FW_UNROLL for (int c = 0; c < r; c += 4) {
        const float4 a = four_at(block_at(at + r, at + c));
        const float four[4] = {a.x, a.y, a.z, a.w};
        FW_UNROLL for (int i = 0; i < 4; i++) {
          if (c + i < r) sum = fmaf(-four[i], x[c + i], sum);
        }
      }
      x[r] = sum;
    }
    warpSync();
    FW_UNROLL for (int r = 0; r < 16; r++) *block_at(at + r, at + column) = x[r];
  }

  // By one warp.
  FW_DEVICE void join_sixteens(int at) {
    float* const own = product + warp() * 16 * kProductRow;
    float right[2][4] = {}, both[2][4] = {};
    multiply(right, 16, element_of(block_at(at + 16, at), kRow), element_of(block_at(at, at), kRow));
    put(own, kProductRow, right, 1);
    warpSync();
    multiply(both, 16, element_of(block_at(at + 16, at + 16), kRow), element_of(own, kProductRow));
    put(block_at(at + 16, at), kRow, both, -1);
  }

  // Each warp computes a quarter, without the terms that are zero: the factors in the middle are inverses.
  FW_DEVICE void join_halves() {
    const int row = warp() / 2 * 16, column = warp() % 2 * 16;
    float right[2][4] = {}, both[2][4] = {};
    const auto multiply_sixteen = [&](float (&sums)[2][4], int k, const float* rows, int stride) {
      multiply(sums, 16, element_of(block_at(32 + row, k), kRow), element_of(rows, stride));
    };
    multiply_sixteen(right, 16, block_at(16, column), kRow);
    if (column == 0) multiply_sixteen(right, 0, block_at(0, 0), kRow);
    put(product + row * kProductRow + column, kProductRow, right, 1);
    barrier();
    multiply_sixteen(both, 32, product + column, kProductRow);
    if (row == 16) multiply_sixteen(both, 48, product + 16 * kProductRow + column, kProductRow);
    put(block_at(32 + row, column), kRow, both, -1);
  }

  static FW_DEVICE void put(float* to, int stride, float (&x)[2][4], float sign) {
    FW_UNROLL for (int j = 0; j < 2; j++) {
      eachElement(x[j], [&](int r, int c, float& value) { to[r * stride + 8 * j + c] = sign * value; });
    }
  }
};

}  // namespace fw::cuda::walk
