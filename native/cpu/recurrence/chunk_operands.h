// The operands of the backward pass in chunks, their rows laid out and scaled by the gates (chunk_gates.h):
//   read = Q' above E' = scale q e^b' and e e^b'       write = W' = w e^-b', above K' = k e^-b' for a second write
// All gradients are those of q^T S dO, whichever of q and dO the read began with: where keys and values are exchanged,
// o = scale S q, dO stands in the place of q and q in that of dO.
#pragma once
#include "ahead.h"
#include "chunk_gates.h"
#include "normalizer.h"

FW_NAMESPACE_BEGIN

// A chunk's tokens, and what is kept of them from the recomputation of the states to the gradients.
struct Chunk : Factors {
  int64_t index, t, count, rows;  // rows: tokens as a multiple of four, filled up with zeros where they are read
  Rows write, written;            // whole chunks, filled up with zeros; those of a second write below
};

// Of what a chunk wrote, or of columns that stand for it, the part of a second write.
inline Rows second_rows(Rows x) { return x.from(kChunk); }
inline Rows second_columns(Rows x) { return x.from(0, kChunk); }

template <Gate kGate>
class ChunkOperands : protected ChunkGates<kGate> {
  using Gates = ChunkGates<kGate>;

 protected:
  using Gates::kGated, Gates::args_, Gates::p_, Gates::x_, Gates::h_, Gates::K_, Gates::V_, Gates::begin_,
      Gates::factor;

  ChunkOperands(const recurrenceBackwardArgs& args, const Problem& p, int64_t head)
      : Gates(args, p, head), writes_(p.second_write ? 2 * kChunk : kChunk),
        column_apart_(p.max && p.values % kLanes == 0 && !p.erase && !p.second_write && !p.exchanged),
        columns_(column_apart_ ? p.values : V_) {
    const int64_t width = p.exchanged ? p.K : p.values;
    const TokenRows doutput{args.doutput + head * width, p.heads * width};
    left_ = p.exchanged ? doutput : x_.q, right_ = p.exchanged ? x_.q : doutput;
  }

  void lay_out_operands(Arena& arena) {
    this->lay_out_gates(arena);
    read_ = rows_in(arena, 2 * kChunk, K_), doutput_ = rows_in(arena, 2 * kChunk, V_), beta_ = arena.floats(kChunk);
    parts_ = arena.floats(kChunk * kLanes), sums_ = arena.floats(kChunk);
  }

  int64_t kept_bytes() const {
    Arena arena(nullptr);
    lay_out_chunk(arena);
    return arena.used;
  }
  Chunk chunk(int64_t c) const {
    Arena arena(kept_ + c * kept_bytes_);
    Chunk chunk = lay_out_chunk(arena);
    chunk.index = c, chunk.t = this->start_of(c);
    chunk.count = this->length_of(c), chunk.rows = round_up(chunk.count, 4);
    return chunk;
  }

  // Where token t of the sequence stands in an array [tokens, heads, ...].
  int64_t place(int64_t t) const { return (begin_ + t) * p_.heads + h_; }

  // Of rows that belong to what is read above those that belong to what is erased, the latter.
  Rows erased(Rows x) const { return x.from(now_.rows); }
  // How many both are.
  int64_t stack() const { return p_.erase ? 2 * now_.rows : now_.rows; }

  Vec read_factor(int64_t c, int64_t i) const { return factor(now_.grow, p_.read_before ? c - 1 : c, i); }
  Vec erase_factor(int64_t c, int64_t i) const { return factor(now_.grow, p_.undecayed ? c - 1 : c, i); }

  // W' and the written values, then K' and the values of the second write.
  void stage_write(const Chunk& chunk) const {
    for (int64_t row = 0; row < writes_; row++) {
      const int64_t c = row % kChunk, t = chunk.t + c, at = begin_ + t;
      float *write = chunk.write[row], *written = chunk.written[row];
      if (c >= chunk.count) {
        zero_row(write, K_), zero_row(written, V_);
        continue;
      }
      const bool second = row >= kChunk;
      stage_row(written, second ? x_.v[at] : args_.written + place(t) * p_.V, p_.V, V_);
      const float* w = second ? x_.k[at] : x_.write_key[at];
      for (int64_t i = 0; i < K_; i += kLanes) store(write + i, load_row(w, i, p_.K) * factor(chunk.shrink, c, i));
    }
  }

  // Makes chunk c the one at hand, with what it reads.
  void stage_read(int64_t c) {
    now_ = chunk(c);
    if (p_.max) stage_read_gradients(args_, p_, place(now_.t), now_.count, doutput_, V_);
    for (int64_t c = 0; c < now_.rows; c++) {
      const int64_t t = now_.t + c, at = begin_ + t;
      beta_[c] = c < now_.count && p_.beta_width ? x_.beta[at][0] : 1;
      if (c >= now_.count) {
        zero_row(read_[c], K_), zero_row(erased(read_)[c], K_);
        zero_row(doutput_[c], V_), zero_row(erased(doutput_)[c], V_);
        continue;
      }
      if (!p_.max) stage_row(doutput_[c], right_[at], p_.V, V_);
      const float *q = left_[at], *e = x_.erase_key[at];
      for (int64_t i = 0; i < K_; i += kLanes) {
        store(read_[c] + i, load_row(q, i, p_.K) * splat(p_.scale) * read_factor(c, i));
        if (p_.erase) store(erased(read_)[c] + i, load_row(e, i, p_.K) * erase_factor(c, i));
      }
    }
  }

  // What stage_gates and stage_write, or stage_read and the gradients, touch of tokens t .. t + count.
  void fetch_written(Ahead& ahead, int64_t t, int64_t count) const {
    ahead.add(x_.write_key[begin_ + t], x_.write_key.stride, count, p_.K);
    ahead.add(args_.written + place(t) * p_.V, p_.heads * p_.V, count, p_.V);
    if (kGated) ahead.add(x_.gate[begin_ + t], x_.gate.stride, count, p_.gate_width);
    if (!p_.second_write) return;
    ahead.add(x_.k[begin_ + t], x_.k.stride, count, p_.K);
    ahead.add(x_.v[begin_ + t], x_.v.stride, count, p_.V);
  }
  void fetch_read(Ahead& ahead, int64_t t, int64_t count) const {
    const int64_t row = p_.heads * p_.K, key = place(t) * p_.K;
    ahead.add(left_[begin_ + t], left_.stride, count, p_.K);
    if (p_.erase) ahead.add(x_.erase_key[begin_ + t], x_.erase_key.stride, count, p_.K);
    if (p_.beta_width) ahead.add(x_.beta[begin_ + t], x_.beta.stride, count, 1);
    ahead.add(right_[begin_ + t], right_.stride, count, p_.values);
    if (p_.max) ahead.add(args_.output + place(t) * p_.values, p_.heads * p_.values, count, p_.values);
    ahead.add(args_.dv + place(t) * p_.values, p_.heads * p_.values, count, p_.values);
    const int64_t width = p_.exchanged ? p_.V : p_.K;
    ahead.add(args_.dq + place(t) * width, p_.heads * width, count, width), ahead.add(args_.dk + key, row, count, p_.K);
    if (args_.dwriteKey.data) ahead.add(args_.dwriteKey + key, row, count, p_.K);
    if (args_.deraseKey.data) ahead.add(args_.deraseKey + key, row, count, p_.K);
    if (kGate == kPerKey) ahead.add(args_.dgate + key, row, count, p_.K);
  }

  const int64_t writes_;    // rows of what a chunk writes
  // Whether a normaliser's value is left to chunk_column.h, and the values that products make columns of.
  const bool column_apart_;
  const int64_t columns_;
  TokenRows left_, right_;  // of the state in what is read: q and dO
  char* kept_;
  int64_t kept_bytes_;
  Chunk now_;            // the chunk at hand
  Rows read_, doutput_;  // dO lies above -dR where keys are erased, as Q' above E'
  float *beta_, *parts_, *sums_;

 private:
  Chunk lay_out_chunk(Arena& arena) const {
    Chunk chunk;
    chunk.write = rows_in(arena, writes_, K_), chunk.written = rows_in(arena, writes_, V_);
    static_cast<Factors&>(chunk) = this->lay_out_factors(arena);
    return chunk;
  }
};

FW_NAMESPACE_END
