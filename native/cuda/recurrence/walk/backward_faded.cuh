// The backward pass where every key has a gate of its own: that of backward.cuh with the operands of faded.cuh in place
// of scores.
#pragma once
#include "backward.cuh"
#include "faded.cuh"

namespace fw::cuda::walk {

// Gradients of values and of the initial state, and the trace of the group.
template <int K>
void walk_back_faded(const Context& cx, const recurrenceBackwardArgs& args, const Problem& p, const Faded<K>* faded,
                     const Trace& trace, int64_t sequences, const Carry& carry);
// The others, from the trace.
template <int K>
void gradients_faded(const Context& cx, const recurrenceBackwardArgs& args, const Problem& p, const Trace& trace);

}  // namespace fw::cuda::walk
