// What the gradients of a chunk and head need of 64 values, in shared memory: dO, V, P and R of its tokens, the state
// before it and the gradient of the state after it. Columns beyond the last value, and rows beyond the last token, are 0.
#pragma once
#include "backward.cuh"

namespace fw::cuda::walk {

template <int K, int kThreads>
struct ValueTiles {
  uint16_t right[kSquare], values[kSquare];
  uint16_t dwritten[kSquare], dwritten_low[kSquare], written[kSquare], written_low[kSquare];
  uint16_t state[K * 64], dstate[K * 64];

  // Brings this thread's part of tile `tile`; visit(s, d) gets its elements of S and dS. A barrier makes it whole.
  template <class Visit>
  FW_DEVICE void fill(const Problem& p, const Trace& trace, const float* states, const float* of_written,
                      const Chunk& chunk, int64_t h, int tile, const Visit& visit) {
    const int first = 64 * tile, width = p.V - first;
    copy(p, trace, chunk, h, tile);
    round_states(p, states + (chunk.index * p.heads + h) * K * p.V + first, width, visit);
    split_written(p, of_written + (chunk.begin * p.heads + h) * p.V + first, chunk.count, width);
  }

 private:
  FW_DEVICE void copy(const Problem& p, const Trace& trace, const Chunk& chunk, int64_t h, int tile) {
    const int first = 64 * tile, width = p.V - first;
    const int64_t place = place_of(p, chunk, h);
    copy_rows<64, kThreads>(right, source_of(p.right, p.heads, h, chunk.begin, first), 0, chunk.count, width);
    if (p.erase) {
      const uint16_t* const from = trace.dwritten + place * trace.dwritten_elements() + tile * (2 * kSquare);
      each_piece<kTokens>([&](int, int row, int column) {
        const int to = at(row, column);
        copyAsync16(dwritten + to, from + to, column < width);
        copyAsync16(dwritten_low + to, from + kSquare + to, column < width);
      });
      copy_rows<64, kThreads>(values, source_of(p.v, p.heads, h, chunk.begin, first), 0, chunk.count, width);
    }
    const uint16_t* const from = trace.dstates + place * trace.dstate_elements(K) + tile * (K * 64);
    each_piece<K>([&](int, int row, int column) {
      copyAsync16(dstate + at(row, column), from + at(row, column), column < width);
    });
    copyCommit();
  }

  // Of both, all are asked for before the first is waited for; for more at a time there are no registers.
  template <class Visit>
  FW_DEVICE void round_states(const Problem& p, const float* from, int width, const Visit& visit) {
    float pieces[count_of(K)][kPiece];
    each_piece<K>([&](int i, int row, int column) {
      load_piece(pieces[i], from + static_cast<int64_t>(row) * p.V + column, column < width);
    });
    copyWait<0>();
    each_piece<K>([&](int i, int row, int column) {
      const float(&x)[kPiece] = pieces[i];
      const int to = at(row, column);
      const uint4 gradients = *reinterpret_cast<const uint4*>(dstate + to);
      const uint32_t pairs[] = {gradients.x, gradients.y, gradients.z, gradients.w};
      FW_UNROLL for (int n = 0; n < 4; n++) {
        visit(x[2 * n], firstOfPair(pairs[n]));
        visit(x[2 * n + 1], secondOfPair(pairs[n]));
      }
      *reinterpret_cast<uint4*>(state + to) = make_uint4(toBfloat16Pair(x[0], x[1]), toBfloat16Pair(x[2], x[3]),
                                                         toBfloat16Pair(x[4], x[5]), toBfloat16Pair(x[6], x[7]));
    });
  }
  FW_DEVICE void split_written(const Problem& p, const float* from, int count, int width) {
    float pieces[count_of(kTokens)][kPiece];
    each_piece<kTokens>([&](int i, int row, int column) {
      load_piece(pieces[i], from + row * p.heads * p.V + column, column < width && row < count);
    });
    each_piece<kTokens>([&](int i, int row, int column) {
      const float(&x)[kPiece] = pieces[i];
      const PairSplit a = splitPair(x[0], x[1]), b = splitPair(x[2], x[3]), c = splitPair(x[4], x[5]),
                      d = splitPair(x[6], x[7]);
      const int to = at(row, column);
      *reinterpret_cast<uint4*>(written + to) = make_uint4(a.high, b.high, c.high, d.high);
      *reinterpret_cast<uint4*>(written_low + to) = make_uint4(a.low, b.low, c.low, d.low);
    });
  }

  // Calls visit(i, row, column) for this thread's pieces, count_of(rows), of so many rows of 64 elements.
  static FW_HOST_DEVICE constexpr int count_of(int rows) { return rows * 8 / kThreads; }
  template <int rows, class Visit>
  static FW_DEVICE void each_piece(const Visit& visit) {
    FW_UNROLL for (int i = 0; i < count_of(rows); i++) {
      visit(i, i * (kThreads / 8) + thread() / 8, thread() % 8 * kPiece);
    }
  }
  static FW_DEVICE void load_piece(float (&x)[kPiece], const float* from, bool live) {
    const float4 a = live ? four_at(from) : float4{}, b = live ? four_at(from + 4) : float4{};
    x[0] = a.x, x[1] = a.y, x[2] = a.z, x[3] = a.w, x[4] = b.x, x[5] = b.y, x[6] = b.z, x[7] = b.w;
  }
};

}  // namespace fw::cuda::walk
