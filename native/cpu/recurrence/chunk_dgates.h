// The gradients of gates in the backward pass in chunks (backward_chunk.h). That of a gate per token and key is the
// next token's plus q dq + e de - w dw, where reads before the decay count for the tokens before; it starts from
// sum_v S dS at the end of every segment between checkpoints and wherever a gate clears the state. In one gate per token
// these differences would cancel: it gets the sum of what was written before it and is read after it (cross).
#pragma once
#include "chunk_errors.h"

FW_NAMESPACE_BEGIN

template <Gate kGate>
class ChunkDgates : protected ChunkErrors<kGate> {
  using Errors = ChunkErrors<kGate>;

 protected:
  using Errors::args_, Errors::p_, Errors::x_, Errors::K_, Errors::V_, Errors::begin_, Errors::read_, Errors::dstate_,
      Errors::scores_, Errors::parts_, Errors::sums_, Errors::place, Errors::writes_, Errors::now_,
      Errors::state_before, Errors::erased;

  ChunkDgates(const Context& cx, const recurrenceBackwardArgs& args, const Problem& p, int64_t head)
      : Errors(cx, args, p, head) {}

  void lay_out_dgates(Arena& arena) {
    this->lay_out_errors(arena);
    dread_ = rows_in(arena, 2 * kChunk, K_), dscores_ = rows_in(arena, 2 * kChunk, writes_);
    write_turned_ = rows_in(arena, K_, writes_), dwrite_turned_ = rows_in(arena, K_, writes_);
    dgate_ = arena.floats(K_), first_dgate_ = arena.floats(kLanes);
  }

  // dgate = sum over values of S dS, from a state as they are kept and its gradient.
  void anchor(Rows state) {
    for (int64_t i = 0; i < K_; i += kLanes) {
      Vec even{}, odd{};
      for (int64_t v = 0; v < V_; v += kLanes) {
        Vec x[kLanes];
#pragma GCC unroll 16
        for (int r = 0; r < kLanes; r++) x[r] = load(dstate_[i + r] + v);
        transpose(x);
#pragma GCC unroll 8
        for (int r = 0; r < kLanes; r += 2) {
          even = fma(x[r], load(state[v + r] + i), even);
          odd = fma(x[r + 1], load(state[v + r + 1] + i), odd);
        }
      }
      store(dgate_ + i, even + odd);
    }
  }

  // Their sum, in lanes that are yet to be summed; and the same at a checkpoint.
  Vec anchored() const {
    Vec total{};
    for (int64_t i = 0; i < K_; i += kLanes) total += load(dgate_ + i);
    return total;
  }
  Vec anchored(const float* checkpoint) const {
    Vec total{};
    int64_t i = 0;
    const auto add_rows = [&](auto rows) {  // side by side, for a row's sum waits for itself
      for (; i + rows <= p_.K; i += rows) {
        Vec sums[rows] = {};
        for (int64_t v = 0; v < V_; v += kLanes)
          each<rows>([&](auto r) {
            sums[r] = fma(load(dstate_[i + r] + v), load_row(checkpoint + (i + r) * p_.V, v, p_.V), sums[r]);
          });
        each<rows>([&](auto r) { total += sums[r]; });
      }
    };
    add_rows(Index<8>());
    add_rows(Index<1>());
    return total;
  }

  // dgate of a chunk's tokens, before dread and dwrite have what goes through the scores R = [Q'; E'] W'^T:
  //   dgate_t = S . D + sum_{i >= t} [Q'; E']_i . [dq; de]_i + sum_{j < t} W'_j . dw_j + sum_{j < t <= i} R_ij dR_ij
  // The next chunk's first dgate is S . D with all terms j, which would cancel in S . D after a strong decay.
  __attribute__((noinline)) void cross() {
    constexpr int kVectors = kChunk / kLanes;
    Vec before[kVectors], all{};
    each<kVectors>([&](auto n) {
      Vec even{}, odd{};
      const Rows write = write_turned_.from(0, n * kLanes), dwrite = dwrite_turned_.from(0, n * kLanes);
      const auto product = [&](int64_t i) { return load(write[i]) * load(dwrite[i]); };
      for (int64_t i = 0; i < K_; i += 2) even += product(i), odd += product(i + 1);
      all += before[n] = even + odd;
    });
    Vec after = load(first_dgate_) - all;
    float decay = 0;
    for (int64_t c = 0; c < now_.count; c++) decay += x_.gate[begin_ + now_.t + c][0];
    if (decay < kStrongDecay) {
      anchor(state_before(now_.index));
      after = anchored();
    }
    const auto through = [&](Rows scores, Rows dscores, int64_t t) {
      each<kVectors>([&](auto n) {
        const int64_t i = n * kLanes;
        before[n] = fma(load(scores[t] + i), load(dscores[t] + i), before[n]);
      });
    };
    const auto add_read = [&](int64_t t, Vec read) { after += read, through(scores_, dscores_, t); };
    const auto add_erased = [&](int64_t t, Vec read) { after += read, through(erased(scores_), erased(dscores_), t); };
    for (int64_t t = now_.rows - 1; t >= 0; t--) {
      Vec reading{}, erasing{};
      for (int64_t i = 0; i < K_; i += kLanes) {
        reading = fma(load(read_[t] + i), load(dread_[t] + i), reading);
        if (p_.erase) erasing = fma(load(erased(read_)[t] + i), load(erased(dread_)[t] + i), erasing);
      }
      if (!p_.read_before) add_read(t, reading);
      if (p_.erase && !p_.undecayed) add_erased(t, erasing);
      Vec dgate = after;
      each<kVectors>([&](auto n) { dgate += keep_columns(before[n], n * kLanes, t - 1); });
      store(parts_ + t * kLanes, dgate);
      if (p_.read_before) add_read(t, reading);
      if (p_.undecayed) add_erased(t, erasing);
    }
    store(first_dgate_, after);
    sum_vectors(sums_, parts_, kChunk);
    for (int64_t c = 0; c < now_.count; c++) args_.dgate[place(now_.t + c)] = sums_[c];
  }

  Rows dread_, dscores_;               // stacked like read_ and its scores
  Rows write_turned_, dwrite_turned_;  // W' and dw, [K, tokens]
  float *dgate_, *first_dgate_;        // the latter in lanes yet to be summed

 private:
  static constexpr float kStrongDecay = -2.3f;  // of a chunk, as a logarithm
};

FW_NAMESPACE_END
