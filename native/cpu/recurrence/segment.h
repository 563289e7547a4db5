// The tokens between two checkpoints of one head in the backward pass (backward_chunk.h): their chunks in memory, and
// the steps from the recomputed states to the gradients.
#pragma once
#include "chunk_gradients.h"

FW_NAMESPACE_BEGIN

// One thread takes all steps of a chunk after another (`run`). Threads that share a segment take a step of all chunks
// after another; for these each chunk has memory of its own (`apart`).
template <Gate kGate>
class Segment {
  static constexpr bool kGated = kGate != kUngated;

 public:
  Segment(const Pass& s, Arena& arena, bool apart)
      : s_(s), gates_(s, arena), apart_(apart), dgate_(arena.floats(s.K)), dbonus_(arena.floats(s.K)),
        by_keys_(rows_in(arena, s.K, s.V)) {
    Arena kept(nullptr), in_turn(nullptr), state(nullptr);
    Chunk x;
    lay_out_kept(kept, x), lay_out_in_turn(in_turn, x), lay_out_state(state);
    kept_bytes_ = kept.used, in_turn_bytes_ = in_turn.used, state_bytes_ = state.used;
  }
  static void* operator new(size_t, void* memory) { return memory; }

  // Tokens [from, to). Their chunks need `bytes()` of memory then, which `place` takes, beside that of D at the end of
  // the segment and at its start.
  void plan(int64_t from, int64_t to) { from_ = from, gates_.plan(from, to); }
  int64_t bytes() const {
    const int64_t n = chunks();
    return round_up(n * int64_t(sizeof(Chunk)), 64) + state_bytes_ + n * kept_bytes_ +
           (apart_ ? n : 1) * in_turn_bytes_;
  }
  void place(void* memory, Rows after, Rows before) {
    Arena arena(memory);
    chunks_ = reinterpret_cast<Chunk*>(arena.floats(chunks() * int64_t(sizeof(Chunk)) / 4));
    after_ = after, before_ = before, end_state_ = lay_out_state(arena);
    for (int64_t c = 0; c < chunks(); c++) lay_out(arena, c);
    zero_row(dbonus_, s_.K);
  }

  // The states before the chunks, and what these write; after the last one the state `with_end`.
  void recompute(bool with_end) {
    const int64_t last = chunks() - 1;
    fetch_chunk(last);
    ahead_.spread(last * s_.writes * s_.K * s_.V / kLanes);
    for (int64_t c = 0; c <= last; c++) {
      const Chunk& x = chunks_[c];
      if (kGated) gates_.stage(x, c);
      stage_write<kGate>(s_, x);
      if (c > 0) {
        advance<kGate>(ahead_, s_, chunks_[c - 1], x.state, x.start, gates_.continues(c));
      } else {
        stage_checkpoint<kGate>(s_, s_.checkpoint(from_), x.start, by_keys_, x.state);
      }
    }
    if (with_end) advance<kGate>(ahead_, s_, chunks_[last], end_state_, s_.ones, false);
    ahead_.finish();
  }

  // The gradient of the gates at the end, of that state and D; and before the start.
  void anchor_end(float* dgate) const {
    anchor(s_, end_state_, after_, dgate);
    if (kGate == kPerToken) store(dgate, anchored(s_, dgate));
  }
  void leave(float* dgate) const {
    if (kGate == kPerKey) {
      anchor(s_, chunks_[0].state, chunks_[0].dmiddle, dgate);
      add_undecayed(s_, chunks_[0], dgate);
    }
    if (kGate == kPerToken) store(dgate, anchored(s_, s_.checkpoint(from_), before_));
  }

  // All steps after the recomputation. `dgate` is that after the segment, and becomes that before it.
  void run(float* dgate) {
    enter(0, s_.V);
    for (int64_t c = chunks() - 1; c >= 0; c--) {
      if (c > 0) fetch_chunk(c - 1);
      fetch_written_before(c, 1);
      ahead_.spread((s_.p.erase ? 6 : 4) * kChunk * s_.K * s_.V / kLanes);
      stage_scores<kGate>(ahead_, s_, chunks_[c]);
      through_writes(ahead_, s_, chunks_[c], 0, s_.columns);
      make_gradients<kGate>(ahead_, s_, chunks_[c]);
      through_state<kGate>(ahead_, s_, chunks_[c], gates_.continues(c), 0, s_.columns);
      write_gradients<kGate>(s_, chunks_[c], dgate, dbonus_);
      ahead_.finish();
    }
    write_first(dgate);
  }

  // The same steps for all chunks: what they read; D and dR of columns [from, to), also by several threads at a time;
  // the gradients of each chunk, while what a segment so many before this one writes is fetched; and those that go from
  // chunk to chunk.
  void scores() {
    for (int64_t c = chunks() - 1; c >= 0; c--) {
      if (c > 0) fetch_chunk(c - 1);
      ahead_.spread(stacked_rows(s_, chunks_[c]) * kChunk * s_.K / kLanes);
      stage_scores<kGate>(ahead_, s_, chunks_[c]);
      ahead_.finish();
    }
  }
  void states(int64_t from, int64_t to) const {
    Ahead nothing;
    enter(from, s_.with_column(to) ? s_.V : to);
    for (int64_t c = chunks() - 1; c >= 0; c--) {
      through_writes(nothing, s_, chunks_[c], from, to);
      through_state<kGate>(nothing, s_, chunks_[c], gates_.continues(c), from, to);
    }
  }
  void gradients(int64_t segments) {
    for (int64_t c = chunks() - 1; c >= 0; c--) {
      fetch_written_before(c, segments);
      ahead_.spread(4 * kChunk * s_.K * s_.V / kLanes);
      make_gradients<kGate>(ahead_, s_, chunks_[c]);
      ahead_.finish();
    }
  }
  void write(float* dgate) {
    for (int64_t c = chunks() - 1; c >= 0; c--) write_gradients<kGate>(s_, chunks_[c], dgate, dbonus_);
    write_first(dgate);
  }

  float* dgate() const { return dgate_; }  // [K], for `write` by a thread of its own
  const float* dbonus() const { return dbonus_; }

 private:
  int64_t chunks() const { return gates_.chunks(); }

  Rows lay_out_state(Arena& arena) const { return rows_in(arena, s_.V, s_.K); }
  void lay_out_kept(Arena& arena, Chunk& x) const {
    x.state = lay_out_state(arena);
    lay_out_written<kGate>(s_, arena, x);
  }
  void lay_out_in_turn(Arena& arena, Chunk& x) const {
    lay_out_gradients<kGate>(s_, arena, x);
    x.dstate = apart_ ? rows_in(arena, s_.K, s_.V) : after_;
  }
  // Chunk c, behind the one before it.
  void lay_out(Arena& arena, int64_t c) {
    Chunk& x = chunks_[c];
    const bool first = c == 0;
    x = first ? Chunk() : chunks_[c - 1];
    x.t = gates_.start_of(c), x.count = gates_.length_of(c), x.rows = round_up(x.count, 4);
    x.anchors = gates_.anchors(c);
    x.dbefore = first ? before_ : x.dstate, x.before_end = first ? s_.ones : x.end;
    lay_out_kept(arena, x);
    if (apart_ || first) lay_out_in_turn(arena, x);
  }

  // D at the end becomes that after the last chunk.
  void enter(int64_t from, int64_t to) const {
    if (!apart_ && !kGated) return;
    const Chunk& x = chunks_[chunks() - 1];
    for (int64_t i = 0; i < s_.p.K; i++)
      for (int64_t v = from; v < to; v += kLanes) store(x.dstate[i] + v, load(after_[i] + v) * splat(x.end[i]));
    for (int64_t c = 0; apart_ && c < chunks(); c++)
      for (int64_t i = s_.p.K; i < s_.K; i++) zero_row(chunks_[c].dstate[i] + from, to - from);
  }
  // A gate per token is anchored here; per key, its first chunk did that.
  void write_first(float* dgate) const {
    if (kGate != kPerToken) return;
    leave(dgate);
    if (!s_.reads_before) s_.args.dgate[s_.place(from_)] = sum(load(dgate));
  }

  void fetch_chunk(int64_t c) { fetch_read(s_, ahead_, gates_.start_of(c), gates_.length_of(c)); }
  // What the recomputation of the segment so many before this one will touch, in a share for every chunk. Rows of
  // tokens come last: they lie a power of two apart, share few sets of the second-level cache, and do not stay there
  // for long.
  void fetch_written_before(int64_t c, int64_t segments) {
    const int64_t t = from_ - segments * s_.args.checkpointEvery, n = chunks();
    if (t < 0) return;
    if (c == 0) fetch_written(s_, ahead_, t, s_.args.checkpointEvery);
    const int64_t shares = n > 1 ? n - 1 : 1, rows = (s_.p.K + shares - 1) / shares;
    const int64_t row = (n > 1 ? c - 1 : 0) * rows;
    if (row >= 0) ahead_.add(s_.checkpoint(t) + row * s_.p.V, s_.p.V, least(rows, s_.p.K - row), s_.p.V);
  }

  const Pass& s_;
  ChunkGates<kGate> gates_;
  const bool apart_;
  float *dgate_, *dbonus_;
  Rows by_keys_;  // room for a state by keys
  Ahead ahead_;
  int64_t from_, kept_bytes_, in_turn_bytes_, state_bytes_;
  Chunk* chunks_;
  Rows end_state_, after_, before_;
};

FW_NAMESPACE_END
