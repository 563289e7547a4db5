// Products of sixteen rows of a warp with tiles in shared memory, on tensor cores and exact to float32: each factor is the sum
// of two numbers of TF32, each of which meets both of the other's. Without the product of the low ones a key that returns would
// bring the same error every time, and a strength near 2 forgets none. Tensor cores may cut what they add instead of rounding
// it: 32 terms at a time have their own sum, and so have products with low parts (cuda.md 6.9).
//
// Of eight terms a lane has 2 t and 2 t + 1, t = lane() % 4, as sums in registers have them: they take the places t and t + 4
// in the layout of mmaTf32. A view gives a lane that pair of row 8 j + lane() / 4 and terms [8 k, 8 k + 8).
#pragma once
#include "tile.cuh"

namespace fw::cuda::float32 {

constexpr int kTerms = 32;  // of one sum

// Rows of a tile.
template <int kColumns>
class RowsView {
 public:
  FW_DEVICE explicit RowsView(const float* tile) : tile(tile), place(at<kColumns>(lane() / 4, lane() % 4 * 2)) {}
  FW_DEVICE float2 get(int j, int k) const {
    return *reinterpret_cast<const float2*>(tile + moved<kColumns>(place, 8 * j, 8 * k));
  }

 private:
  const float* tile;
  int place;
};
// Its columns, as rows.
template <int kColumns>
class ColumnsView {
 public:
  FW_DEVICE explicit ColumnsView(const float* tile)
      : tile(tile),
        first(at<kColumns>(lane() % 4 * 2, lane() / 4)),
        second(at<kColumns>(lane() % 4 * 2 + 1, lane() / 4)) {}
  FW_DEVICE float2 get(int j, int k) const {
    return make_float2(tile[moved<kColumns>(first, 8 * k, 8 * j)], tile[moved<kColumns>(second, 8 * k, 8 * j)]);
  }

 private:
  const float* tile;
  int first, second;
};

struct Left {
  uint32_t high[4], low[4];
};
FW_DEVICE Left left_of(const float2& upper, const float2& lower) {
  const float x[4] = {upper.x, lower.x, upper.y, lower.y};
  Left left;
  FW_UNROLL for (int i = 0; i < 4; i++) {
    const Split parts = split(x[i]);
    left.high[i] = parts.high, left.low[i] = parts.low;
  }
  return left;
}
// Eight columns of sums.
FW_DEVICE Left left_of(const float (&sums)[4]) {
  return left_of(make_float2(sums[0], sums[1]), make_float2(sums[2], sums[3]));
}
// Rows [8 j, 8 j + 16) of a view.
template <class View>
FW_DEVICE Left left_of(const View& view, int j, int k) {
  return left_of(view.get(j, k), view.get(j + 1, k));
}

struct Right {
  uint32_t high[2], low[2];
};
FW_DEVICE Right right_of(const float2& x) {
  const Split first = split(x.x), second = split(x.y);
  return {{first.high, second.high}, {first.low, second.low}};
}

// The sum of some terms for four blocks of eight columns, or the first ones of them.
struct Part {
  static constexpr int kBlocks = 4;
  float large[kBlocks][4] = {}, small[kBlocks][4] = {};

  // Over eight terms, for the blocks from `first` to `beyond`, whose right factors right(j) gives. All at a time, so that no
  // product waits for the sum of the one before.
  template <class RightOf>
  FW_DEVICE void add(const Left& left, const RightOf& right, int first = 0, int beyond = kBlocks) {
    Right of[kBlocks];
    const auto each = [&](const auto& visit) {
      FW_UNROLL for (int j = 0; j < kBlocks; j++) {
        if (j >= first && j < beyond) visit(j, of[j]);
      }
    };
    each([&](int j, Right& b) { b = right_of(right(j)); });
    each([&](int j, Right& b) { mmaTf32(small[j], left.low, b.high); });
    each([&](int j, Right& b) { mmaTf32(large[j], left.high, b.high); });
    each([&](int j, Right& b) { mmaTf32(small[j], left.low, b.low); });
    each([&](int j, Right& b) { mmaTf32(small[j], left.high, b.low); });
  }
  // The same for what right factors are more than the sum of two numbers.
  template <class RightOf>
  FW_DEVICE void add_low(const Left& left, const RightOf& right, int first, int beyond) {
    FW_UNROLL for (int j = 0; j < kBlocks; j++) {
      if (j < first || j >= beyond) continue;
      const float2 x = right(j);
      mmaTf32(small[j], left.high, {toBits(x.x), toBits(x.y)});
    }
  }
  FW_DEVICE float total(int j, int e) const { return large[j][e] + small[j][e]; }
};

// Calls visit(four, first) for four blocks of columns after the other, in a loop that they go round in: unrolled, the code for a
// chunk would be larger than what multiprocessors keep of it.
template <int n, class Visit>
FW_DEVICE void each_four(float (&sums)[n][4], const Visit& visit) {
  static_assert(n % 4 == 0, "whole fours");
  FW_ROLLED for (int first = 0; first < n; first += 4) {
    float four[4][4];
    FW_UNROLL for (int i = 0; i < 16; i++) four[i / 4][i % 4] = sums[i / 4][i % 4];
    visit(four, first);
    FW_UNROLL for (int i = 16; i < 4 * n; i++) sums[i / 4 - 4][i % 4] = sums[i / 4][i % 4];
    FW_UNROLL for (int i = 0; i < 16; i++) sums[n - 4 + i / 4][i % 4] = four[i / 4][i % 4];
  }
}

// sums += a b^T over kTerms terms: left(k) and right(j, k) give the factors of eight each, j counting blocks of columns.
template <int n, class LeftOf, class RightOf>
FW_DEVICE void multiply_few(float (&sums)[n][4], const LeftOf& left, const RightOf& right) {
  static_assert(n <= Part::kBlocks, "a part has room for them");
  Part part;
  FW_UNROLL for (int k = 0; k < kTerms / 8; k++) part.add(left(k), [&](int j) { return right(j, k); }, 0, n);
  FW_UNROLL for (int j = 0; j < n; j++)
    FW_UNROLL for (int e = 0; e < 4; e++) sums[j][e] += part.total(j, e);
}
// The same of views: rows [8 row, 8 row + 16) of a, rows of b from 8 first on, and the terms from 8 k on.
template <int n, class A, class B>
FW_DEVICE void multiply(float (&sums)[n][4], const A& a, int row, const B& b, int first, int k = 0) {
  const auto few = [&](auto& some, int from) {
    multiply_few(some, [&](int i) { return left_of(a, row, k + i); },
                 [&](int j, int i) { return b.get(first + from + j, k + i); });
  };
  if constexpr (n <= Part::kBlocks) few(sums, 0);
  else each_four(sums, few);
}

}  // namespace fw::cuda::float32
