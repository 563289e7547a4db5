// The states before the chunks between two checkpoints, recomputed with the values that the forward pass wrote:
//   S <- e^b_last S + W^T N [+ K^T V]     with W = w e^(b_last - b), K likewise
// They are kept transposed, [V, K], and multiplied by e^b_middle of the chunk that they precede, so that the products
// of the chunk need no other form of the keys than the primed ones (chunk_operands.h). Chunks of the same b_middle leave
// only the sum.
#pragma once
#include "chunk_operands.h"
#include "tile.h"

FW_NAMESPACE_BEGIN

template <Gate kGate>
class ChunkStates : protected ChunkOperands<kGate> {
  using Operands = ChunkOperands<kGate>;

 protected:
  using Operands::kGated, Operands::args_, Operands::p_, Operands::K_, Operands::V_, Operands::chunks_, Operands::kept_,
      Operands::kept_bytes_, Operands::chunk, Operands::writes_, Operands::column_apart_;

  ChunkStates(const Context& cx, const recurrenceBackwardArgs& args, const Problem& p, int64_t head)
      : Operands(args, p, head), cx_(cx) {}

  void lay_out_states(Arena& arena) {
    this->lay_out_operands(arena);
    padded_ = rows_in(arena, K_, V_);
  }

  // Before chunk c; after the last one it is not scaled.
  Rows state_before(int64_t c) const { return {states_ + c * V_ * stride_of(K_), stride_of(K_)}; }

  const float* checkpoint(const Sequence& sequence, int64_t t) const {
    return args_.states + ((sequence.checkpoint + t / args_.checkpointEvery) * p_.heads + this->h_) * p_.K * p_.V;
  }

  // Stages what is kept of every chunk; the state after the last one is computed when `with_end`.
  void recompute(const float* checkpoint, bool with_end) {
    kept_bytes_ = this->kept_bytes();
    const int64_t states_bytes = (chunks_ + 1) * V_ * stride_of(K_) * 4;
    states_ = static_cast<float*>(cx_.scratch(0, states_bytes + chunks_ * kept_bytes_));
    kept_ = reinterpret_cast<char*>(states_) + states_bytes;
    fetch_read(chunks_ - 1);
    ahead_.spread((chunks_ - 1) * writes_ * K_ * V_ / kLanes);
    for (int64_t c = 0; c < chunks_; c++) {
      const Chunk next = chunk(c);
      if (kGated) this->stage_gates(next, c);
      this->stage_write(next);
      if (c > 0) {
        advance(c - 1, next.start);
      } else {
        stage_checkpoint(checkpoint, next.start);
      }
    }
    if (with_end) advance(chunks_ - 1, this->ones_);
    ahead_.finish();
  }

  void fetch_read(int64_t c) { Operands::fetch_read(ahead_, this->start_of(c), this->length_of(c)); }
  // What the recomputation from the checkpoint at token t will touch, in a share for every chunk before it. Rows of tokens
  // come last: they lie a power of two apart, share few sets of the second-level cache, and do not stay there for long.
  void fetch_segment(const Sequence& sequence, int64_t t, int64_t c) {
    if (c == 0) this->fetch_written(ahead_, t, args_.checkpointEvery);
    const int64_t shares = chunks_ > 1 ? chunks_ - 1 : 1, rows = (p_.K + shares - 1) / shares;
    const int64_t row = (chunks_ > 1 ? c - 1 : 0) * rows;
    if (row >= 0) ahead_.add(checkpoint(sequence, t) + row * p_.V, p_.V, least(rows, p_.K - row), p_.V);
  }

  const Context& cx_;
  Ahead ahead_;
  float* states_;
  Rows padded_;

 private:
  void stage_checkpoint(const float* checkpoint, const float* start) {
    for (int64_t i = 0; i < p_.K; i++) stage_row(padded_[i], checkpoint + i * p_.V, p_.V, V_, kGated ? start[i] : 1);
    transpose(state_before(0), padded_, K_, V_);
  }

  // The state before chunk c + 1, whose e^b_middle is `start`.
  void advance(int64_t c, const float* start) {
    const Chunk from = chunk(c);
    const Target next{state_before(c + 1), state_before(c), from.end, start};
    // Rows in whole vectors for the sake of one would be a waste; those that are left out are read, too, as zeros.
    const int64_t rows = column_apart_ ? round_up(p_.V, 4) : V_;
    for (int64_t v = rows; v < V_; v++) zero_row(next.c[v], K_);
    const auto add = [&](auto... writes) {
      if (!kGated || this->continues(c + 1)) return multiply<kAdd>(ahead_, rows, K_, next, writes...);
      if constexpr (kGated) multiply<kScaledColumns>(ahead_, rows, K_, next, writes...);
    };
    const auto write = transposed_times(from.written, from.write, from.count);
    if (!p_.second_write) return add(write);
    add(write, transposed_times(second_rows(from.written), second_rows(from.write), from.count));
  }
};

FW_NAMESPACE_END
