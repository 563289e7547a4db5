// What kernels find in their index operands, checked in the queue right before they run: kernels follow indices and
// offsets without looking. One comparison a row.
#pragma once
#include "../../kernels.h"
#include "../errors.h"

namespace fw {

// Each from 0 to limit - 1; `ignored` is the one value beside them that is let through.
inline void check_indices(const char* kernel, const char* argument, const In& x, int64_t count, int64_t limit,
                          int64_t ignored = -1, bool ignores = false) {
  const int32_t* const indices = x.ints();
  for (int64_t i = 0; i < count; i++) {
    const bool inside = indices[i] >= 0 && indices[i] < limit;
    if (!inside && !(ignores && indices[i] == ignored)) throw bad_index(kernel, argument, i, indices[i], limit);
  }
}

// From 0 to the number of tokens, never falling.
inline void check_offsets(const char* kernel, const InMaybe& offsets, int64_t sequences, int64_t tokens) {
  if (!offsets.data) return;
  const int32_t* const at = offsets.ints();
  int64_t before = 0;
  for (int64_t s = 0; s <= sequences; s++) {
    const bool fits = at[s] >= before && at[s] <= tokens && (s > 0 || at[s] == 0) && (s < sequences || at[s] == tokens);
    if (!fits) throw bad_index(kernel, "offsets", s, at[s], tokens + 1);
    before = at[s];
  }
}

template <class Args>
void check_contents(const Args&) {}

inline void check_contents(const embeddingArgs& a) { check_indices("embedding", "indices", a.indices, a.rows, a.vocabulary); }
inline void check_contents(const embeddingBackwardArgs& a) {
  check_indices("embedding", "indices", a.indices, a.rows, a.vocabulary);
}
inline void check_contents(const gatherArgs& a) { check_indices("gather", "index", a.index, a.index.size, a.limit); }
inline void check_contents(const scatterAddArgs& a) {
  check_indices("scatterAdd", "index", a.index, a.index.size, a.limit);
}
inline void check_contents(const crossEntropyArgs& a) {
  check_indices("crossEntropy", "target", a.target, a.rows, a.n, a.ignoreIndex, true);
}
inline void check_contents(const crossEntropyBackwardArgs& a) {
  check_indices("crossEntropy", "target", a.target, a.rows, a.n, a.ignoreIndex, true);
}
inline void check_contents(const shortConvArgs& a) { check_offsets("shortConv", a.offsets, a.sequences, a.tokens); }
inline void check_contents(const shortConvBackwardArgs& a) {
  check_offsets("shortConvBackward", a.offsets, a.sequences, a.tokens);
}
inline void check_contents(const attentionArgs& a) { check_offsets("attention", a.offsets, a.sequences, a.tokens); }
inline void check_contents(const attentionBackwardArgs& a) {
  check_offsets("attentionBackward", a.offsets, a.sequences, a.tokens);
}

inline void check_contents(const selfReferentialArgs& a) {
  check_offsets("selfReferential", a.offsets, a.sequences, a.tokens);
}
inline void check_contents(const selfReferentialBackwardArgs& a) {
  check_offsets("selfReferentialBackward", a.offsets, a.sequences, a.tokens);
}
inline void check_contents(const recurrentDeltaArgs& a) {
  check_offsets("recurrentDelta", a.offsets, a.sequences, a.tokens);
}
inline void check_contents(const recurrentDeltaBackwardArgs& a) {
  check_offsets("recurrentDeltaBackward", a.offsets, a.sequences, a.tokens);
}
inline void check_contents(const deltaCellArgs& a) {
  check_offsets("deltaCell", a.offsets, a.sequences, a.tokens);
}
inline void check_contents(const deltaCellBackwardArgs& a) {
  check_offsets("deltaCellBackward", a.offsets, a.sequences, a.tokens);
}

inline void check_contents(const exponentialGatesArgs& a) {
  check_offsets("exponentialGates", a.offsets, a.sequences, a.tokens);
}
inline void check_contents(const exponentialGatesBackwardArgs& a) {
  check_offsets("exponentialGatesBackward", a.offsets, a.sequences, a.tokens);
}

// The checkpoints of packed sequences depend on their lengths.
template <class Args>
void check_recurrence(const char* kernel, const Args& a) {
  check_offsets(kernel, a.offsets, a.sequences, a.tokens);
  if (!a.offsets.data || !a.states.data) return;
  int64_t checkpoints = 0;
  for (int64_t s = 0; s < a.sequences; s++) {
    const int64_t length = a.offsets.ints()[s + 1] - a.offsets.ints()[s];
    checkpoints += (length + a.checkpointEvery - 1) / a.checkpointEvery;
  }
  if (a.states.size < checkpoints * a.heads * a.keyDim * a.valueDim) {
    throw std::invalid_argument("states are fewer than the checkpoints of the sequences");
  }
}
inline void check_contents(const recurrenceArgs& a) { check_recurrence("recurrence", a); }
inline void check_contents(const recurrenceBackwardArgs& a) { check_recurrence("recurrenceBackward", a); }

#define FW_NAME(kernel) \
  inline const char* name_of(const kernel##Args&) { return #kernel; }
FW_KERNELS(FW_NAME)
#undef FW_NAME

}  // namespace fw
