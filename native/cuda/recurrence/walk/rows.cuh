// What a warp of a walk has in its registers: sixteen of the state's values over all keys, or over the tokens of a chunk,
// as the sums of products whose columns are keys or tokens. No warp needs what another computes.
//
// Row g of a warp's sums is value 2 g, row g + 8 is 2 g + 1: a lane has neighbouring values, and no store is less than a
// pair. Elements 0 and 1 are the first value's.
#pragma once
#include "engine.cuh"
#include "scores.cuh"

namespace fw::cuda::walk {

using Engine = MmaEngine;
template <int K>
using State = float[K / 8][4];
template <int size>
using RowsOf = float[size / 8][4];
using Rows = RowsOf<kTokens>;

// A lane's pair among the block's values, and its first token, or key, of eight.
FW_DEVICE int own_value() { return 16 * warp() + lane() / 4 * 2; }
FW_DEVICE int own_token() { return lane() % 4 * 2; }

// Calls visit(i, e, t) for the elements of RowsOf<size> and their tokens.
template <int size = kTokens, class Visit>
FW_DEVICE void each_token(const Visit& visit) {
  FW_UNROLL for (int i = 0; i < size / 8; i++)
    FW_UNROLL for (int e = 0; e < 4; e++) visit(i, e, 8 * i + own_token() + e % 2);
}

// Those of the tokens from 8 i on, from a tile of values.
FW_DEVICE void take_values(const uint16_t* tile, int i, float (&values)[4]) {
  FW_UNROLL for (int e = 0; e < 2; e++) {
    const uint32_t pair = *reinterpret_cast<const uint32_t*>(tile + moved(at(own_token() + e, own_value()), 8 * i, 0));
    values[e] = firstOfPair(pair), values[e + 2] = secondOfPair(pair);
  }
}

// Sixteen columns of sums as the left factor of a product over them, not rounded.
template <int n>
FW_DEVICE Factors split(const float (&sums)[n][4], int k) {
  Factors left;
  FW_UNROLL for (int i = 0; i < 4; i++) {
    const float* const pair = &sums[2 * k + i / 2][i % 2 * 2];
    const PairSplit parts = splitPair(pair[0], pair[1]);
    left.high[i] = parts.high, left.low[i] = parts.low;
  }
  return left;
}

FW_DEVICE void split_all(Factors (&left)[kTokens / 16], const Rows& sums) {
  FW_UNROLL for (int k = 0; k < kTokens / 16; k++) left[k] = split(sums, k);
}

// sums += left tile^T with a lower triangular tile, all in two numbers of bfloat16; the product of the low parts is too small
// to matter.
template <class Engine>
FW_DEVICE void multiply_exactly(Rows& sums, const Factors (&left)[kTokens / 16], const uint16_t* high, const uint16_t* low) {
  FW_UNROLL for (int k = 0; k < kTokens / 16; k++) {
    Engine::lower(sums, left[k].high, low, k);
    Engine::lower(sums, left[k], high, k);
  }
}

// sums += S^T tile^T, in products that have begun.
template <class Engine, int K>
FW_DEVICE void multiply_all(Rows& sums, const typename Engine::template Rounded<K / 8>& of_state, const uint16_t* tile) {
  FW_UNROLL for (int k = 0; k < K / 16; k++) {
    uint32_t left[4];
    of_state.get(left, k);
    Engine::rows(sums, left, tile, k);
  }
}
// sums += S^T tile^T
template <int n>
FW_DEVICE void multiply_state(Rows& sums, const float (&state)[n][4], const uint16_t* tile) {
  Engine::begin();
  FW_UNROLL for (int k = 0; k < n / 2; k++) {
    uint32_t left[4];
    round_to(left, state, k);
    Engine::rows(sums, left, tile, k);
  }
  Engine::end();
}

// A head of a sequence, and some of its values; tokens and chunks are counted from its first ones.
struct Task {
  const Problem& p;
  int64_t n, length;
  int h, first, columns;  // first of the block's values, and how many there are; or keys in their place
  int64_t pair;  // where this lane's pair of values lies in [tokens, heads, V] for its first token

  FW_DEVICE bool live() const { return first + own_value() < columns; }
  // Of chunk c, where chunks have so many tokens.
  template <int size = kTokens>
  FW_DEVICE int tokens(int64_t c) const {
    const int64_t left = length - c * size;
    return left < size ? static_cast<int>(left) : size;
  }

  // Calls visit(i, e, place) for the pairs of values of chunk c in RowsOf<size> and where they lie in [tokens, heads, V].
  template <int size = kTokens, class Visit>
  FW_DEVICE void each_pair(int64_t c, const Visit& visit) const {
    const int64_t token = p.heads * p.V;
    const int left = live() ? tokens<size>(c) - own_token() : 0;
    int64_t place = pair + c * size * token;
    FW_UNROLL for (int i = 0; i < size / 8; i++) {
      if (8 * i < left) visit(i, 0, place);
      if (8 * i + 1 < left) visit(i, 1, place + token);
      place += 8 * token;
    }
  }
  // The same for a state, and where they lie in row `row` of [rows, heads, K, columns].
  template <int K, class Visit>
  FW_DEVICE void each_key(int64_t row, const Visit& visit) const {
    if (!live()) return;
    int64_t place = ((row * p.heads + h) * K + own_token()) * columns + first + own_value();
    FW_UNROLL for (int i = 0; i < K / 8; i++) {
      visit(i, 0, place);
      visit(i, 1, place + columns);
      place += 8 * columns;
    }
  }
};

FW_DEVICE Task task_of(const Problem& p, const Sequence& sequence, int64_t n, int64_t h, int first) {
  return {p, n, sequence.length, static_cast<int>(h), first, p.V,
          ((sequence.begin + own_token()) * p.heads + h) * p.V + first + own_value()};
}

FW_DEVICE void put_pair(float* to, float x, float y) { *reinterpret_cast<float2*>(to) = make_float2(x, y); }
FW_DEVICE void put_pair(const Out& to, int64_t at, float x, float y) {
  if (to.dtype == kFloat32) return put_pair(static_cast<float*>(to.data) + at, x, y);
  *reinterpret_cast<uint32_t*>(static_cast<uint16_t*>(to.data) + at) = toBfloat16Pair(x, y);
}

}  // namespace fw::cuda::walk
