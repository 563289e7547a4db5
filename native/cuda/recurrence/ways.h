// The ways of the forward pass and of the backward pass, among which recurrence.cu chooses.
#pragma once
#include "../context.h"

namespace fw::cuda {

// Any recurrence, exact to float32 (forward.cu, backward.cu).
void forward_exact(const Context& cx, const recurrenceArgs& args);
void backward_exact(const Context& cx, const recurrenceBackwardArgs& args);

// bfloat16 operands with K keys, and what else is asked of them (walk/walk.cu, walk/backward.cu).
template <int K>
bool takes_bfloat16(const recurrenceArgs& args);
template <int K>
void forward_bfloat16(const Context& cx, const recurrenceArgs& args);
// The same with a gate for every key (walk/walk_faded.cu, walk/backward_faded.cu).
template <int K>
bool takes_vector_gates(const recurrenceArgs& args);
template <int K>
void forward_vector_gates(const Context& cx, const recurrenceArgs& args);
template <int K>
bool takes_bfloat16(const recurrenceBackwardArgs& args);
template <int K>
void backward_bfloat16(const Context& cx, const recurrenceBackwardArgs& args);
template <int K>
bool takes_vector_gates(const recurrenceBackwardArgs& args);
template <int K>
void backward_vector_gates(const Context& cx, const recurrenceBackwardArgs& args);

// The same with at most a gate per head in float32, and exact to it (float32/walk.cu, float32/backward.cu).
template <int K>
bool takes_float32(const recurrenceArgs& args);
template <int K>
void forward_float32(const Context& cx, const recurrenceArgs& args);
template <int K>
bool takes_float32(const recurrenceBackwardArgs& args);
template <int K>
void backward_float32(const Context& cx, const recurrenceBackwardArgs& args);

}  // namespace fw::cuda
