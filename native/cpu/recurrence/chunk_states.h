// The states before the chunks between two checkpoints, recomputed with the values that the forward pass wrote:
//   S <- e^b_last S + W^T N [+ K^T V]     with W = w e^(b_last - b), K likewise
// They are kept transposed, [V, K], and multiplied by e^b_middle of the chunk that they precede, so that the products
// of the chunk need no other form of the keys than the primed ones (chunk_operands.h). Chunks of the same b_middle
// leave only the sum.
#pragma once
#include "chunk_operands.h"
#include "tile.h"

FW_NAMESPACE_BEGIN

// The state before the first chunk, whose e^b_middle is `start`; `rows` has room for it by keys.
template <Gate kGate>
static void stage_checkpoint(const Pass& s, const float* checkpoint, const float* start, Rows rows, Rows state) {
  for (int64_t i = 0; i < s.p.K; i++)
    stage_row(rows[i], checkpoint + i * s.p.V, s.p.V, s.V, kGate == kUngated ? 1 : start[i]);
  for (int64_t i = s.p.K; i < s.K; i++) zero_row(rows[i], s.V);
  transpose(state, rows, s.K, s.V);
}

// The state after chunk x, before one whose e^b_middle is `start`; `continues` says that it is that of x.
template <Gate kGate>
static void advance(Ahead& ahead, const Pass& s, const Chunk& x, Rows after, const float* start, bool continues) {
  const Target next{after, x.state, x.end, start};
  const int64_t rows = round_up(s.p.V, 4);
  for (int64_t v = rows; v < s.V; v++) zero_row(after[v], s.K);
  const auto add = [&](auto... writes) {
    if (kGate == kUngated || continues) return multiply<kAdd>(ahead, rows, s.K, next, writes...);
    if constexpr (kGate != kUngated) multiply<kScaledColumns>(ahead, rows, s.K, next, writes...);
  };
  const auto write = transposed_times(x.written, x.write, x.count);
  if (!s.p.second_write) return add(write);
  add(write, transposed_times(second_rows(x.written), second_rows(x.write), x.count));
}

FW_NAMESPACE_END
