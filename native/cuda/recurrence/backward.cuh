// The backward pass in two kernels (spec 2.15). The first walks through a head of a sequence from the last chunk to the
// first, with some columns of the gradient of the state, and gives the gradients of values; for the gradients of keys,
// which are sums over all values, it leaves its part of
//   read_tj = right_t . r_j    erase_tj = -dr_t . r_j    (and with v_j for a second write)
//   D = right S^T    E = -dR S^T    W = R dS^T    (V dS^T)    gate_i = sum_v S_iv dS_iv
// in scratch memory: S the state before the chunk, dS the gradient of the one after it, R the written values. The second
// adds the parts up, chunks and heads in parallel.
#pragma once
#include "chunk.cuh"

namespace fw::cuda {

// Values per block of the first kernel, beside a gradient of the state as large as the state.
FW_HOST_DEVICE constexpr int backward_columns_for(int K) { return K <= 128 ? columns_for(K) : 8; }

// Where each part of a chunk, head and block of values begins, in floats.
struct Parts {
  enum Rows { kOfRead, kOfErase, kOfWrite, kOfSecond };
  int matrices, keys, gate, dbeta, dbonus, size, blocks;

  FW_HOST_DEVICE static Parts of(const Problem& p) {
    Parts parts;
    parts.keys = round_up(p.K, 16);
    parts.matrices = p.secondWrite ? 4 : 2;
    parts.gate = parts.matrices * kChunk * kChunk + (p.secondWrite ? 4 : 3) * kChunk * parts.keys;
    parts.dbeta = parts.gate + parts.keys;
    parts.dbonus = parts.dbeta + kChunk;
    parts.size = parts.dbonus + kChunk;
    const int columns = backward_columns_for(p.K);
    parts.blocks = (p.V + columns - 1) / columns;
    return parts;
  }
  FW_DEVICE int matrix(int which) const { return which * kChunk * kChunk; }
  FW_DEVICE int rows(int which) const { return matrices * kChunk * kChunk + which * kChunk * keys; }
};

// Scratch memory for the heads of a group.
struct BackwardMemory {
  float* scores;  // see problem.cuh
  float* parts;   // [chunks, heads, blocks of values, Parts::size]
  float* states;  // of the chunks between two checkpoints, [sequences, heads, blocks of values, state_floats]
  float* dbonus;  // [chunks, heads, K], where there is a bonus
};
// Between two checkpoints, in a block of values.
FW_HOST_DEVICE int64_t state_floats(const Problem& p) {
  return int64_t{p.every / kChunk} * round_up(p.K, 16) * backward_columns_for(p.K);
}

void backward_values(const Context& cx, const recurrenceBackwardArgs& args, const Problem& p,
                     const BackwardMemory& memory);
void backward_keys(const Context& cx, const recurrenceBackwardArgs& args, const Problem& p,
                   const BackwardMemory& memory);

}  // namespace fw::cuda
