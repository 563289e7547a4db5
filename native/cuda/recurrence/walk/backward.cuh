// The backward pass in bfloat16 (spec 2.15), of a group of chunks after the other: the scores of all chunks, the walk back
// through those of each sequence, and the gradients of keys, queries and gates, chunks and heads in parallel.
#pragma once
#include "../groups.cuh"
#include "scores.cuh"

namespace fw::cuda::walk {

// What is kept of each chunk and head of a group until its gradients are computed, tiles over 64 values each:
//   dstates  [chunks, heads, tiles, K, 64]           dS, the gradient of the state after the chunk
//   dwritten [chunks, heads, tiles, 2, kTokens, 64]  P, the gradient of what is written before its strength multiplies it,
//                                                    as the sum of two numbers, where the rule erases
struct Trace {
  Scores* scores;
  uint16_t *dstates, *dwritten;
  int tiles;

  FW_HOST_DEVICE int64_t dstate_elements(int K) const { return int64_t{tiles} * K * 64; }
  FW_HOST_DEVICE int64_t dwritten_elements() const { return int64_t{tiles} * 2 * kSquare; }
};

// Gradients of values and of the initial state, and the trace of the group.
template <int K>
void walk_back(const Context& cx, const recurrenceBackwardArgs& args, const Problem& p, const Trace& trace,
               int64_t sequences, const Carry& carry);
// The others, from the trace.
template <int K>
void gradients(const Context& cx, const recurrenceBackwardArgs& args, const Problem& p, const Trace& trace);

}  // namespace fw::cuda::walk
