// The operands of one chunk and head in shared memory, scaled by the gates. Rows have strides that keep the fragments of
// the tensor cores free of bank conflicts.
#pragma once
#include "problem.cuh"

namespace fw::cuda {

// Values of the state that one block holds: fewer where there are more keys, so that it fits the shared memory of
// every card.
FW_HOST_DEVICE constexpr int columns_for(int K) { return K <= 64 ? 64 : K <= 128 ? 32 : 16; }

// Threads of a block that works on a state.
constexpr int kStateThreads = 128;

// Hands out pieces of the shared memory of a block, each aligned to 16 bytes; over no memory it only counts.
struct SharedArena {
  unsigned char* base;
  int64_t used;
  FW_HOST_DEVICE constexpr float* floats(int64_t n) {
    float* const piece = base ? reinterpret_cast<float*>(base + used) : nullptr;
    used += (n * 4 + 15) / 16 * 16;
    return piece;
  }
};

// Whose first bytes are what a kernel calls its shared memory; launches say how much there is.
struct SharedBytes {
  alignas(16) unsigned char first[16];
};

// What a layout takes of it at most, over all that a problem may be; the exchanged read has no left and no second write.
template <class Layout>
constexpr int64_t most_shared_of(bool exchanged) {
  int64_t most = 0;
  const float given = 0;
  for (int K = 16; K <= kMostKeys; K += 16) {
    Problem p{};
    p.K = K, p.left.data = exchanged ? nullptr : &given, p.erase = true, p.secondWrite = !exchanged;
    Layout layout{};
    const int64_t bytes = layout.lay_out({nullptr, 0}, p);
    if (bytes > most) most = bytes;
  }
  return most;
}

// With b_t the sum of the log gates up to token t of the chunk, each [kChunk, keys] with row stride keys + 4:
//   left = left_t e^b_t     erase = e_t e^b_t     (one gate less where the problem says so)
//   write = w_t e^(b_last - b_t)     second = k_t e^(b_last - b_t)     decay[keys] = e^b_last
struct ChunkKeys {
  float *left, *erase, *write, *second, *decay;
  int keys, stride;  // K padded to a multiple of 16

  FW_HOST_DEVICE constexpr void lay_out(SharedArena& arena, const Problem& p) {
    keys = round_up(p.K, 16), stride = keys + 4;
    left = p.left.data ? arena.floats(kChunk * stride) : nullptr;
    erase = p.erase ? arena.floats(kChunk * stride) : nullptr;
    write = arena.floats(kChunk * stride);
    second = p.secondWrite ? arena.floats(kChunk * stride) : nullptr;
    decay = arena.floats(keys);
  }

  // Rows beyond the last token and columns beyond K are zero.
  FW_DEVICE void stage(const Problem& p, const Chunk& chunk, int64_t h) const {
    for (int i = thread(); i < keys; i += kStateThreads) {
      float sum = 0, rest = 0;
      for (int t = 0; t < kChunk; t++) {
        const bool live = i < p.K && t < chunk.count;
        const int64_t token = chunk.begin + t;
        const float before = expf(sum);
        if (live) sum += gate_at(p, token, h, i);
        const float after = expf(sum);
        if (left) {
          left[t * stride + i] =
              live ? load(p.left, token, h, p.heads, i) * p.leftScale * (p.readBefore ? before : after) : 0;
        }
        if (erase) {
          erase[t * stride + i] =
              live ? load(p.eraseKey, token, h, p.heads, i) * (p.undecayed ? before : after) : 0;
        }
      }
      decay[i] = expf(sum);
      for (int t = kChunk - 1; t >= 0; t--) {
        const bool live = i < p.K && t < chunk.count;
        const int64_t token = chunk.begin + t;
        const float factor = expf(rest);
        write[t * stride + i] = live ? load(p.writeKey, token, h, p.heads, i) * factor : 0;
        if (second) second[t * stride + i] = live ? load(p.k, token, h, p.heads, i) * factor : 0;
        if (live) rest += gate_at(p, token, h, i);
      }
    }
  }
};

// How products read rows: row r, column k of [rows, stride], or of its transpose.
FW_DEVICE auto rows_of(const float* rows, int stride) {
  return [=](int r, int k) { return rows[r * stride + k]; };
}
FW_DEVICE auto turned(const float* rows, int stride) {
  return [=](int r, int k) { return rows[k * stride + r]; };
}

// c += a b over as many terms as there are keys. Tensor cores may cut what they add instead of rounding it, and a strength
// near 2 forgets no error: a few terms at a time have their own sum (cuda.md 6.9).
template <class A, class B>
FW_DEVICE void multiply_keys(float (&c)[4], int keys, const A& a, const B& b) {
  constexpr int kAtOnce = 32;
  for (int from = 0; from < keys; from += kAtOnce) {
    float part[4] = {};
    multiply(part, keys - from < kAtOnce ? keys - from : kAtOnce, [&](int r, int k) { return a(r, from + k); },
             [&](int k, int j) { return b(from + k, j); });
    FW_UNROLL
    for (int e = 0; e < 4; e++) c[e] += part[e];
  }
}

// Rows [kChunk, columns] of an operand over values, from column `first` on, zero beyond the last token and beyond V.
template <class At>
FW_DEVICE void stage_values(float* rows, int stride, int columns, const Problem& p, const Chunk& chunk, int first,
                            const At& at) {
  for (int n = thread(); n < kChunk * columns; n += kStateThreads) {
    const int t = n / columns, j = n % columns;
    rows[t * stride + j] = t < chunk.count && first + j < p.V ? at(chunk.begin + t, first + j) : 0;
  }
}

}  // namespace fw::cuda
