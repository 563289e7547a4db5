// What the gradients of a chunk and head need of some values, in shared memory: dO, V, P and R of its tokens, the state before
// it and the gradient of the state after it. Columns beyond the last value, and rows beyond the last token, are 0.
//
// A state is kept before every second chunk: for the others it passes through the chunk before, whose keys and R that takes.
#pragma once
#include "gates.cuh"
#include "products.cuh"

namespace fw::cuda::float32 {

constexpr int kTile = 32;  // values at a time

// Where they lie from the first value on.
struct ValueSource {
  int count;
  Chunk before;  // none where the state before the chunk was kept
  Source right, values, written, dwritten, state, dstate, keys_before, written_before;

  FW_DEVICE void find(const Problem& p, const float* dstates, const float* of_dwritten, const float* states,
                      const float* of_written, const Chunk& chunk, int64_t h) {
    count = chunk.count, before = {};
    const Sequence sequence = sequence_at<kTokens>(p, chunk.sequence);
    const int64_t c = chunk.index - sequence.chunk, place = place_of(p, chunk, h), row = p.heads * p.V;
    const int64_t kept = checkpoint_row(p, chunk.sequence, c / 2) * p.heads + h, each = int64_t{p.K} * p.V;
    right = source_of(p.right, p.heads, h, chunk.begin);
    values = source_of(p.v, p.heads, h, chunk.begin);
    written = {of_written + (chunk.begin * p.heads + h) * p.V, row};
    dwritten = {of_dwritten + place * kTokens * p.V, p.V};
    state = {states + kept * each, p.V}, dstate = {dstates + place * each, p.V};
    if (c % 2 == 0) return;
    before = chunk_of<kTokens>(sequence, chunk.sequence, c - 1);
    keys_before = source_of(p.k, p.heads, h, before.begin);
    written_before = {of_written + (before.begin * p.heads + h) * p.V, row};
  }
};

template <int K, int kThreads>
struct ValueTiles {
  alignas(16) float right[kTokens * kTile], values[kTokens * kTile];
  float written[kTokens * kTile], dwritten[kTokens * kTile];
  float state[K * kTile], dstate[K * kTile];
  float keys_before[kTokens * K], written_before[kTokens * kTile];
  Gates before;

  // What is the same for all values; the first call of `fill` waits for it.
  FW_DEVICE void begin(const Problem& p, const ValueSource& from, int64_t h) {
    if (from.before.count == 0) return;
    copy_rows<K, kThreads>(keys_before, from.keys_before, 0, from.before.count);
    if (warp() == 0) before.fill(p, from.before, h);
  }

  // Values [first, first + kTile); a barrier makes them whole.
  FW_DEVICE void fill(const Problem& p, const ValueSource& from, int first) {
    const int width = p.V - first;
    const auto copy = [&](float* tile, const Source& x, int count) {
      copy_rows<kTile, kThreads>(tile, {x.data + first, x.token}, 0, count, width);
    };
    copy(right, from.right, from.count), copy(written, from.written, from.count);
    if (p.erase) copy(values, from.values, from.count), copy(dwritten, from.dwritten, kTokens);
    if (from.before.count > 0) copy(written_before, from.written_before, from.before.count);
    copy_rows<kTile, kThreads, K>(state, {from.state.data + first, from.state.token}, 0, K, width);
    copy_rows<kTile, kThreads, K>(dstate, {from.dstate.data + first, from.dstate.token}, 0, K, width);
    copyCommit();
    copyWait<0>();
  }

  // S <- through_last S + (rest K)^T R of the chunk before, by warps that have sixteen keys at a time.
  FW_DEVICE void pass() {
    const ColumnsView<K> keys(keys_before);
    const ColumnsView<kTile> written(written_before);
    const float through = before.through(kTokens - 1);
    const int t = lane() % 4 * 2;
    float rest[kTokens / 8][2];
    FW_UNROLL for (int k = 0; k < kTokens / 8; k++) {
      FW_UNROLL for (int e = 0; e < 2; e++) rest[k][e] = before.rest(8 * k + t + e);
    }
    for (int key = 16 * warp(); key < K; key += 16 * (kThreads / kWarp)) {
      float sums[kTile / 8][4] = {};
      const auto right = [&](int j, int k) {
        const float2 x = written.get(j, k);
        return make_float2(rest[k][0] * x.x, rest[k][1] * x.y);
      };
      multiply_few(sums, [&](int k) { return left_of(keys, key / 8, k); }, right);
      FW_UNROLL for (int j = 0; j < kTile / 8; j++) {
        FW_UNROLL for (int e = 0; e < 4; e++) {
          float& s = state[at<kTile>(key + lane() / 4 + e / 2 * 8, 8 * j + t + e % 2)];
          s = through * s + sums[j][e];
        }
      }
    }
  }

  // Adds this thread's part of S . dS, and, where the rule erases, of P . V for its token.
  FW_DEVICE void add_products(bool erases, float& across, float& own) const {
    const int row = thread() / 4, column = thread() % 4 * (2 * kPiece);
    for (int from = 0; from < K; from += kThreads / 4) across += dot(state, dstate, from + row, column);
    if (erases) own += dot(dwritten, values, row, column);
  }

 private:
  // Of eight neighbours.
  static FW_DEVICE float dot(const float* a, const float* b, int row, int column) {
    float sum = 0;
    FW_UNROLL for (int i = 0; i < 2 * kPiece; i += kPiece) {
      const int place = at<kTile>(row, column + i);
      const float4 x = *reinterpret_cast<const float4*>(a + place), y = *reinterpret_cast<const float4*>(b + place);
      sum = fmaf(x.x, y.x, fmaf(x.y, y.y, fmaf(x.z, y.z, fmaf(x.w, y.w, sum))));
    }
    return sum;
  }
};

}  // namespace fw::cuda::float32
