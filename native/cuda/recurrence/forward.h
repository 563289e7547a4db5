// The ways of the forward pass, among which recurrence.cu chooses.
#pragma once
#include "../context.h"

namespace fw::cuda {

// Any recurrence, exact to float32 (forward.cu).
void forward_exact(const Context& cx, const recurrenceArgs& args);

// bfloat16 operands with K keys (walk/walk.cu), and what else is asked of them.
template <int K>
bool takes_bfloat16(const recurrenceArgs& args);
template <int K>
void forward_bfloat16(const Context& cx, const recurrenceArgs& args);

}  // namespace fw::cuda
