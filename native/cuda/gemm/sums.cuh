// The inner products of a warp: sums over the terms of a pair of tiles, on tensor cores.
#pragma once
#include "factor.cuh"

namespace fw::cuda::gemm {

// 16 kM rows and 8 kN columns of a product, spread over a warp.
template <int kM, int kN>
struct Sums {
  float at[kM][kN][4];

  FW_DEVICE void clear() {
    FW_UNROLL for (int i = 0; i < kM; i++)
      FW_UNROLL for (int j = 0; j < kN; j++)
        FW_UNROLL for (int e = 0; e < 4; e++) at[i][j][e] = 0;
  }
  FW_DEVICE void add(const Sums& other) {
    FW_UNROLL for (int i = 0; i < kM; i++)
      FW_UNROLL for (int j = 0; j < kN; j++)
        FW_UNROLL for (int e = 0; e < 4; e++) at[i][j][e] += other.at[i][j][e];
  }
  // Calls visit(row, column, sum) for what this lane holds.
  template <class Visit>
  FW_DEVICE void each(const Visit& visit) {
    FW_UNROLL for (int i = 0; i < kM; i++)
      FW_UNROLL for (int j = 0; j < kN; j++)
        eachElement(at[i][j], [&](int r, int c, float& sum) { visit(16 * i + r, 8 * j + c, sum); });
  }
  // Stores them from `to` on, in rows of kRow elements.
  template <int kRow>
  FW_DEVICE void put(float* to) const {
    float* const own = to + lane() / 4 * kRow + lane() % 4 * 2;
    FW_UNROLL for (int i = 0; i < kM; i++)
      FW_UNROLL for (int j = 0; j < kN; j++)
        FW_UNROLL for (int half = 0; half < 2; half++) {
          const float* const pair = &at[i][j][2 * half];
          *reinterpret_cast<float2*>(own + (16 * i + 8 * half) * kRow + 8 * j) = make_float2(pair[0], pair[1]);
        }
  }
};

// How a block multiplies the tiles of a step, whose copies have come when begin() is called: multiply(), and finish() after
// the last step. So many steps before the present one may still be read, so many warps load together, and tiles begin at
// multiples of so many bytes.
struct WarpProducts {
  static constexpr int kLag = 0, kTogether = 1, kAlignment = 128;
  static bool isFor(const Context&) { return true; }
  static FW_DEVICE void begin() {}
  static FW_DEVICE void finish() {}
};

// float32 as three products of TF32 (cuda.md 6.9). Tensor cores add without rounding to nearest, so their chains are
// kept short: a tile's sum is added to the sums by itself.
struct Float32Products : WarpProducts {
  using Element = float;
  // What partsOf goes by: columns of a block that has few, and the terms that are worth a stretch.
  static constexpr int kColumns = 32, kStretch = 512;
  template <int kLines, Layout layout>
  using Tile = PaddedTile<float, kLines, layout>;

  template <class A, class B, int kM, int kN>
  static FW_DEVICE void multiply(Sums<kM, kN>& sums, const float* a, int row, const float* b, int column) {
    const int g = lane() / 4, t = lane() % 4;
    Sums<kM, kN> tile;
    tile.clear();
    FW_UNROLL for (int k = 0; k < A::kDepth; k += 8) {
      uint32_t high[kM][4], low[kM][4], bHigh[kN][2], bLow[kN][2];
      FW_UNROLL for (int i = 0; i < kM; i++)
        FW_UNROLL for (int e = 0; e < 4; e++) {
          const Split x = split(a[A::at(row + 16 * i + g + 8 * (e % 2), k + t + 4 * (e / 2))]);
          high[i][e] = x.high, low[i][e] = x.low;
        }
      FW_UNROLL for (int j = 0; j < kN; j++)
        FW_UNROLL for (int e = 0; e < 2; e++) {
          const Split x = split(b[B::at(column + 8 * j + g, k + t + 4 * e)]);
          bHigh[j][e] = x.high, bLow[j][e] = x.low;
        }
      multiplyAll(tile, low, bHigh);
      multiplyAll(tile, high, bLow);
      multiplyAll(tile, high, bHigh);
    }
    repair<A, B>(tile, a, row, b, column);
    sums.add(tile);
  }

 private:
  // An infinity, or what TF32 rounds to one, is no sum of two parts: sums that it has spoilt are made again without.
  template <class A, class B, int kM, int kN>
  static FW_DEVICE void repair(Sums<kM, kN>& tile, const float* a, int row, const float* b, int column) {
    float zero = 0;
    tile.each([&](int, int, float& sum) { zero = fmaf(sum, 0, zero); });
    if (zero == 0) return;
    tile.each([&](int r, int c, float& sum) {
      if (sum - sum == 0) return;
      sum = 0;
      FW_ROLLED for (int k = 0; k < A::kDepth; k++) sum = fmaf(a[A::at(row + r, k)], b[B::at(column + c, k)], sum);
    });
  }

  template <int kM, int kN>
  static FW_DEVICE void multiplyAll(Sums<kM, kN>& sums, const uint32_t (&a)[kM][4], const uint32_t (&b)[kN][2]) {
    FW_UNROLL for (int i = 0; i < kM; i++)
      FW_UNROLL for (int j = 0; j < kN; j++) mmaTf32(sums.at[i][j], a[i], b[j]);
  }
};

// The fragments of sixteen terms are loaded while those before them are multiplied.
struct Bfloat16Products : WarpProducts {
  using Element = uint16_t;
  // A launch to add up stretches takes longer than shorter sums do.
  static constexpr int kColumns = 8, kStretch = 4096;
  template <int kLines, Layout layout>
  using Tile = SwizzledTile<uint16_t, kLines, layout>;

  template <class A, class B, int kM, int kN>
  static FW_DEVICE void multiply(Sums<kM, kN>& sums, const uint16_t* a, int row, const uint16_t* b, int column) {
    static_assert(kN % 2 == 0, "columns are loaded by sixteen");
    const int left = place<A>(row, 8, 16), right = place<B>(column, 16, 8);
    Fragments<kM, kN / 2> fragments[2];
    const auto load = [&](int k) {
      auto& to = fragments[k / 16 % 2];
      FW_UNROLL for (int i = 0; i < kM; i++) loadPiece<A>(to.left[i], a + A::moved(left, 16 * i, k));
      FW_UNROLL for (int j = 0; j < kN / 2; j++) loadPiece<B>(to.right[j], b + B::moved(right, 16 * j, k));
    };
    load(0);
    FW_UNROLL for (int k = 0; k < A::kDepth; k += 16) {
      if (k + 16 < A::kDepth) load(k + 16);
      const auto& from = fragments[k / 16 % 2];
      FW_UNROLL for (int i = 0; i < kM; i++)
        FW_UNROLL for (int j = 0; j < kN; j++) {
          const uint32_t pair[2] = {from.right[j / 2][2 * (j % 2)], from.right[j / 2][2 * (j % 2) + 1]};
          mmaBfloat16(sums.at[i][j], from.left[i], pair);
        }
    }
  }

 private:
  template <int kLeft, int kRight>
  struct Fragments {
    uint32_t left[kLeft][4], right[kRight][4];
  };

  // 16 lines and 16 terms are four matrices of 8 x 8, (line, k) in the order of the operands of mmaBfloat16: the second
  // eight lines come with those lanes that have the bit `lines` set, the second eight terms with `terms`. What a lane
  // gives of the first ones lies here.
  template <class Tile>
  static FW_DEVICE int place(int line, int lines, int terms) {
    const int l = lane(), second = (l & lines) != 0 ? 8 : 0, later = (l & terms) != 0 ? 8 : 0;
    return Tile::kLayout == kAlongK ? Tile::at(line + second + l % 8, later) : Tile::at(line + second, later + l % 8);
  }
  template <class Tile>
  static FW_DEVICE void loadPiece(uint32_t (&r)[4], const uint16_t* row) {
    if (Tile::kLayout == kAlongK) loadMatrix(r, row);
    else loadMatrixT(r, row);
  }
};

}  // namespace fw::cuda::gemm
