// The backward pass in float32 (spec 2.15), of a group of chunks after the other: the scores of all chunks, the walk back
// through those of each sequence, and the gradients of keys, queries and gates, chunks and heads in parallel.
#pragma once
#include "scores.cuh"

namespace fw::cuda::float32 {

// What is kept of each chunk and head of a group until its gradients are computed:
//   dstates  [chunks, heads, K, V]        dS, the gradient of the state after the chunk
//   dwritten [chunks, heads, kTokens, V]  P, the gradient of what is written before its strength multiplies it, where the rule
//                                         erases
struct Trace {
  Scores* scores;
  float *dstates, *dwritten;
};

// Gradients of values and of the initial state, and the trace of the group.
template <int K>
void walk_back(const Context& cx, const recurrenceBackwardArgs& args, const Problem& p, const Trace& trace,
               int64_t sequences, const Carry& carry);
// The others, from the trace.
template <int K>
void gradients(const Context& cx, const recurrenceBackwardArgs& args, const Problem& p, const Trace& trace);

}  // namespace fw::cuda::float32
