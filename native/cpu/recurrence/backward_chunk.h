// The backward pass in chunks of up to 16 tokens, for rules that scale what they write by one number per token
// (spec 2.15). Per chunk, with the keys of chunk_operands.h, all [tokens, K], S the state before it times e^b_middle,
// N the written values [tokens, V], and D the gradient of the state after it times e^(b_last - b_middle):
//   dN = W' D + tril(Q' W'^T)^T dO                P = (I + stril(beta E' W'^T))^-T dN       dR = beta P = dv
//   dA = tril(dO N^T)      X = stril(-dR N^T)
//   [dq; de] = ([dO; -dR] S^T + [dA; X] W') e^b'       dw = (N D^T + [dA; X]^T [Q'; E']) e^-b'
//   gradient of the state before it = (D + [Q'; E']^T [dO; -dR]) e^b_middle
// tril is stril for queries that read before the update. A second write adds its keys K' and values V to W' and N
// wherever both are read (their scores stand beside those of W'), and
//   dv = K' D + [tril(Q' K'^T); stril(E' K'^T)]^T [dO; -dR]
// Where keys and values are exchanged (chunk.h), dq is what would else be the output: Q' S + tril(Q' W'^T) N.
#pragma once
#include "segment.h"

FW_NAMESPACE_BEGIN

// Tokens x K x V of a sequence that are worth sharing out, and how many of its segments threads work on at a time.
constexpr int64_t kLeastTogether = 1 << 20, kMostTogether = 32;

inline bool chunks_cover(const Problem& p) {
  return p.beta_width <= 1 && !(p.second_write && p.gate_width == 1);
}

// Whether the factors between a state and one read before its decay are numbers.
inline bool gates_invert(const Pass& s) {
  if (!s.reads_before) return true;
  const int64_t n = s.p.gate_width, begin = s.sequence.begin;
  Vec strongest{};
  for (int64_t t = begin; t < begin + s.sequence.length; t++)
    for (int64_t i = 0; i < n; i += kLanes) strongest = vmax(strongest, -load_row(s.x.gate[t], i, n));
  for (int i = 0; i < kLanes; i++)
    if (strongest[i] > kLargestExponent) return false;
  return true;
}

// What goes from one segment to the one before it, in scratch memory 1.
struct Between {
  float *dgate, *dbonus;  // [K]
  Rows dstate;

  void lay_out(Pass& s, Arena& arena) {
    s.ones = arena.floats(s.K), dgate = arena.floats(s.K), dbonus = arena.floats(s.K);
    dstate = rows_in(arena, s.K, s.V);
  }
  void begin(const Pass& s) const {
    for (int64_t i = 0; i < s.K; i++) s.ones[i] = 1;
    zero_row(dgate, s.K), zero_row(dbonus, s.K);
    for (int64_t i = 0; i < s.K; i++) zero_row(dstate[i], s.V);
    if (s.args.dfinalState.data)
      stage_rows(dstate.data, dstate.stride, s.args.dfinalState + s.state_at(), s.p.V, s.p.K, s.p.V);
  }
  void add_bonus(const Pass& s, const float* of_segment) const {
    for (int64_t i = 0; i < s.K; i += kLanes) store(dbonus + i, load(dbonus + i) + load(of_segment + i));
  }
  void end(const Pass& s) const {
    const int64_t K = s.p.K;
    if (s.args.dbonus.data) unstage_rows(s.args.dbonus + (s.n * s.p.heads + s.head) * K, K, dbonus, s.K, 1, K);
    if (s.args.dinitialState.data)
      unstage_rows(s.args.dinitialState + s.state_at(), s.p.V, dstate.data, dstate.stride, K, s.p.V);
  }
};

// One thread, segment after segment.
template <Gate kGate>
static void backward_alone(const Context& cx, Pass& s) {
  const int64_t every = s.args.checkpointEvery, length = s.sequence.length;
  Between between;
  const auto lay_out = [&](Arena& arena) {
    between.lay_out(s, arena);
    return Segment<kGate>(s, arena, false);
  };
  Arena sizes(nullptr);
  lay_out(sizes);
  Arena arena(cx.scratch(1, sizes.used));
  Segment<kGate> segment = lay_out(arena);
  between.begin(s);
  for (int64_t from = (length - 1) / every * every; from >= 0 && length > 0; from -= every) {
    const bool anchored = kGate != kUngated && from + every >= length && s.args.dfinalState.data;
    segment.plan(from, least(from + every, length));
    segment.place(cx.scratch(0, segment.bytes()), between.dstate, between.dstate);
    segment.recompute(anchored);
    if (anchored) segment.anchor_end(between.dgate);
    segment.run(between.dgate);
    between.add_bonus(s, segment.dbonus());
  }
  between.end(s);
}

// All threads, in rounds of two segments for each: with one they wait for each other too often, and more leave the
// caches. What goes from chunk to chunk each does for a part of the values, all else for a segment. Every number is
// formed as by one thread.
template <Gate kGate>
static void backward_together(const Context& cx, Pass& s) {
  const int64_t every = s.args.checkpointEvery, length = s.sequence.length, segments = (length + every - 1) / every;
  const int64_t most = least(least(2 * cx.threads, segments), kMostTogether);
  const int64_t columns = s.columns, width = round_up((columns + cx.threads - 1) / cx.threads, 16);
  const int64_t parts = (columns + width - 1) / width;
  Between between;
  Segment<kGate>* round[kMostTogether];
  Rows borders[kMostTogether + 1];  // D between the segments, from the last one on
  const auto lay_out = [&](Arena& arena) {
    between.lay_out(s, arena);
    borders[0] = between.dstate;
    for (int64_t i = 0; i < most; i++) borders[i + 1] = rows_in(arena, s.K, s.V);
    for (int64_t i = 0; i < most; i++) {
      float* memory = arena.floats(sizeof(Segment<kGate>) / 4);
      if (arena.base) round[i] = new (memory) Segment<kGate>(s, arena, true);
      else Segment<kGate>(s, arena, true);
    }
  };
  Arena sizes(nullptr);
  lay_out(sizes);
  Arena arena(cx.scratch(1, sizes.used));
  lay_out(arena);
  between.begin(s);
  for (int64_t i = 0; i < most; i++)
    for (int64_t r = s.p.K; r < s.K; r++) zero_row(borders[i + 1][r], s.V);
  for (int64_t last = segments - 1; last >= 0; last -= most) {
    const int64_t count = least(most, last + 1);
    const bool anchored = kGate != kUngated && last == segments - 1 && s.args.dfinalState.data;
    int64_t bytes = 0;
    for (int64_t i = 0; i < count; i++) {
      round[i]->plan((last - i) * every, least((last - i + 1) * every, length));
      bytes += round[i]->bytes();
    }
    char* memory = static_cast<char*>(cx.scratch(0, bytes));
    for (int64_t i = 0; i < count; i++) {
      round[i]->place(memory, borders[i], borders[i + 1]);
      memory += round[i]->bytes();
    }
    parallel(cx, count, [&](int64_t i) {
      round[i]->recompute(i == 0 && anchored);
      round[i]->scores();
    });
    if (anchored) round[0]->anchor_end(between.dgate);
    parallel(cx, parts, [&](int64_t part) {
      for (int64_t i = 0; i < count; i++) round[i]->states(part * width, least((part + 1) * width, columns));
    });
    const auto write = [&](int64_t i) {
      float* dgate = i > 0 ? round[i]->dgate() : between.dgate;
      if (i > 0) round[i - 1]->leave(dgate);
      round[i]->write(dgate);
    };
    parallel(cx, count, [&](int64_t i) {
      round[i]->gradients(most);
      if (kGate == kUngated) write(i);
    });
    if (kGate != kUngated) parallel(cx, count, write);
    round[count - 1]->leave(between.dgate);
    for (int64_t i = 0; i < count; i++) between.add_bonus(s, round[i]->dbonus());
    const Rows start = borders[0];
    borders[0] = borders[count], borders[count] = start;
  }
  between.dstate = borders[0];
  between.end(s);
}

FW_NAMESPACE_END
