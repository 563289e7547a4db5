// The operands of the backward pass in chunks, their rows laid out and scaled by the gates (chunk_gates.h):
//   read = Q' above E' = scale q e^b' and e e^b'       write = W' = w e^-b', above K' = k e^-b' for a second write
#pragma once
#include "ahead.h"
#include "chunk_gates.h"
#include "normalizer.h"

FW_NAMESPACE_BEGIN

// W' and the written values, then K' and the values of the second write.
template <Gate kGate>
static void stage_write(const Pass& s, const Chunk& x) {
  for (int64_t row = 0; row < s.writes; row++) {
    const int64_t c = row % kChunk, t = x.t + c, at = s.sequence.begin + t;
    float *write = x.write[row], *written = x.written[row];
    if (c >= x.count) {
      zero_row(write, s.K), zero_row(written, s.V);
      continue;
    }
    const bool second = row >= kChunk;
    stage_row(written, second ? s.x.v[at] : s.args.written + s.place(t) * s.p.V, s.p.V, s.V);
    const float* w = second ? s.x.k[at] : s.x.write_key[at];
    for (int64_t i = 0; i < s.K; i += kLanes)
      store(write + i, load_row(w, i, s.p.K) * factor<kGate>(s, x.shrink, c, i));
  }
}

// What the chunk reads, and dO.
template <Gate kGate>
static void stage_read(const Pass& s, const Chunk& x) {
  if (s.p.max) stage_read_gradients(s.args, s.p, s.place(x.t), x.count, x.doutput, s.V);
  for (int64_t c = 0; c < x.rows; c++) {
    const int64_t t = x.t + c, at = s.sequence.begin + t;
    x.beta[c] = c < x.count && s.p.beta_width ? s.x.beta[at][0] : 1;
    if (c >= x.count) {
      zero_row(x.read[c], s.K), zero_row(x.erased(x.read)[c], s.K);
      zero_row(x.doutput[c], s.V), zero_row(x.erased(x.doutput)[c], s.V);
      continue;
    }
    if (!s.p.max) stage_row(x.doutput[c], s.right[at], s.p.V, s.V);
    const float *q = s.left[at], *e = s.x.erase_key[at];
    for (int64_t i = 0; i < s.K; i += kLanes) {
      store(x.read[c] + i, load_row(q, i, s.p.K) * splat(s.p.scale) * read_factor<kGate>(s, x, c, i));
      if (s.p.erase) store(x.erased(x.read)[c] + i, load_row(e, i, s.p.K) * erase_factor<kGate>(s, x, c, i));
    }
  }
}

// Rows of `read` that the first token reads before its decay, as f(row) for each.
template <class F>
FW_INLINE void undecayed_rows(const Pass& s, const Chunk& x, const F& f) {
  if (s.p.read_before) f(int64_t(0));
  if (s.p.erase && s.p.undecayed) f(x.rows);
}

// `read` without them, of a chunk that anchors.
static void stage_decayed(const Pass& s, const Chunk& x) {
  if (!s.reads_before) return;
  for (int64_t row = 0; row < stacked_rows(s, x); row++) stage_row(x.decayed[row], x.read[row], s.K, s.K);
  undecayed_rows(s, x, [&](int64_t row) { zero_row(x.decayed[row], s.K); });
}

// What stage_gates and stage_write, or stage_read and the gradients, touch of tokens t .. t + count.
static void fetch_written(const Pass& s, Ahead& ahead, int64_t t, int64_t count) {
  const Problem& p = s.p;
  const int64_t at = s.sequence.begin + t;
  ahead.add(s.x.write_key[at], s.x.write_key.stride, count, p.K);
  ahead.add(s.args.written + s.place(t) * p.V, p.heads * p.V, count, p.V);
  if (p.gate_width) ahead.add(s.x.gate[at], s.x.gate.stride, count, p.gate_width);
  if (!p.second_write) return;
  ahead.add(s.x.k[at], s.x.k.stride, count, p.K);
  ahead.add(s.x.v[at], s.x.v.stride, count, p.V);
}
static void fetch_read(const Pass& s, Ahead& ahead, int64_t t, int64_t count) {
  const Problem& p = s.p;
  const recurrenceBackwardArgs& args = s.args;
  const int64_t at = s.sequence.begin + t, row = p.heads * p.K, key = s.place(t) * p.K;
  ahead.add(s.left[at], s.left.stride, count, p.K);
  if (p.erase) ahead.add(s.x.erase_key[at], s.x.erase_key.stride, count, p.K);
  if (p.beta_width) ahead.add(s.x.beta[at], s.x.beta.stride, count, 1);
  ahead.add(s.right[at], s.right.stride, count, p.values);
  if (p.max) ahead.add(args.output + s.place(t) * p.values, p.heads * p.values, count, p.values);
  ahead.add(args.dv + s.place(t) * p.values, p.heads * p.values, count, p.values);
  const int64_t width = p.exchanged ? p.V : p.K;
  ahead.add(args.dq + s.place(t) * width, p.heads * width, count, width), ahead.add(args.dk + key, row, count, p.K);
  if (args.dwriteKey.data) ahead.add(args.dwriteKey + key, row, count, p.K);
  if (args.deraseKey.data) ahead.add(args.deraseKey + key, row, count, p.K);
  if (p.gate_width > 1) ahead.add(args.dgate + key, row, count, p.K);
}

FW_NAMESPACE_END
