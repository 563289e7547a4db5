// What of a chunk goes through the values that it wrote: from dO and D, the gradient of the state after it, to dR, dv
// and dbeta (the equations stand in backward_chunk.h).
#pragma once
#include "chunk_column.h"
#include "chunk_states.h"

FW_NAMESPACE_BEGIN

template <Gate kGate>
class ChunkErrors : protected ChunkStates<kGate> {
  using States = ChunkStates<kGate>;

 protected:
  using States::args_, States::p_, States::K_, States::V_, States::ahead_, States::beta_, States::read_,
      States::doutput_, States::parts_, States::sums_, States::place, States::writes_, States::state_before,
      States::now_, States::erased, States::column_apart_, States::columns_;

  ChunkErrors(const Context& cx, const recurrenceBackwardArgs& args, const Problem& p, int64_t head)
      : States(cx, args, p, head) {}

  void lay_out_errors(Arena& arena) {
    this->lay_out_states(arena);
    dstate_ = rows_in(arena, K_, V_);
    derror_ = rows_in(arena, kChunk, V_), scores_ = rows_in(arena, 2 * kChunk, writes_);
    dcolumn_ = arena.floats(K_);
  }

  // Where scores, or their gradients, are put: those of tokens with what was written before them.
  Target triangles(Rows scores) const { return {scores, {}, nullptr, nullptr, now_.rows, p_.read_before}; }

  void through_writes() {
    multiply<kStore>(ahead_, now_.rows, columns_, {derror_}, times(now_.write, dstate_, p_.K),
                     transposed_times<kUpper>(scores_, doutput_, now_.count));
    if (column_apart_) through_column();
    through_error();
    if (p_.second_write) through_values();
  }

  Rows dstate_, scores_;  // D, [K, V]; [Q'; E'] W'^T, stacked like read_
  float* dcolumn_;        // of D the column of a normaliser that stands apart

 private:
  // P, dR = beta P, which goes out as dv and, negated, below dO; dbeta = P . (v - a), where v - a = N / beta.
  void through_error() {
    const int64_t count = now_.count;
    const auto divides = [&](int64_t c) { return beta_[c] > kSmallestBeta || beta_[c] < -kSmallestBeta; };
    bool all_divide = true;
    for (int64_t c = 0; c < count; c++) all_divide &= divides(c);
    const bool whole = count == kChunk && all_divide;
    for (int64_t v = 0; v < columns_; v += kLanes) {
      if (whole && v + kLanes <= p_.values) {
        solve<true>(v);
      } else {
        solve<false>(v);
      }
    }
    if (!p_.beta_width) return;
    sum_vectors(sums_, parts_, kChunk);
    for (int64_t c = 0; column_apart_ && c < count; c++) sums_[c] += derror_[c][columns_] * now_.written[c][columns_];
    for (int64_t c = 0; c < count; c++)
      args_.dbeta[place(now_.t + c)] = divides(c) ? sums_[c] / beta_[c] : error_product(c);
  }

  // The last column of P.
  void through_column() {
    gather_column(dcolumn_, dstate_, columns_, K_);
    column_errors(sums_, parts_, now_.write, dcolumn_, K_, scores_, doutput_, columns_, now_.count);
    for (int64_t c = 0; c < now_.count; c++) derror_[c][columns_] = sums_[c];
  }

  // Columns v ... of P, from the last token to the first, kept in the place of dN unless all is whole: kChunk tokens,
  // whole vectors, no division by next to nothing.
  template <bool kWhole>
  __attribute__((noinline)) void solve(int64_t v) {
    const int64_t dv_row = p_.heads * p_.values, count = now_.count;
    const Rows written = now_.written.from(0, v), factors = erased(scores_), error = erased(doutput_).from(0, v);
    float* dv = args_.dv + place(now_.t) * p_.values;
    Vec x[kChunk];
#pragma GCC unroll 16
    for (int64_t c = 0; c < kChunk; c++) x[c] = kWhole || c < count ? load(derror_[c] + v) : Vec{};
#pragma GCC unroll 16
    for (int64_t r = 0; r < kChunk; r++) {
      const int64_t c = kChunk - 1 - r;
      if (!kWhole && c >= count) continue;
      const Vec dr = splat(beta_[c]) * x[c], product = x[c] * load(written[c]);
      if (kWhole) {
        store(dv + c * dv_row + v, dr);
      } else {
        store_row(dv + c * dv_row, v, p_.values, dr);  // whose part vectors would spill x here
      }
      store(parts_ + c * kLanes, v == 0 ? product : product + load(parts_ + c * kLanes));
      if (!kWhole) store(derror_[c] + v, x[c]);
      if (!p_.erase) continue;
      store(error[c], -dr);
#pragma GCC unroll 16
      for (int64_t j = 0; j < kChunk; j++)
        if (j < c) x[j] -= splat(factors[c][j]) * dr;
    }
  }

  // P . (v - a) of a token that wrote nothing.
  float error_product(int64_t c) const {
    const float *value = this->x_.v[this->begin_ + now_.t + c], *dn = derror_[c], *weights = erased(scores_)[c];
    const Rows state = state_before(now_.index);
    Vec product{};
    for (int64_t v = 0; v < p_.V; v += kLanes) {
      Vec error = p_.second_write ? Vec{} : load_row(value, v, p_.values);
      if (p_.values < p_.V && p_.values - v < kLanes) error[p_.values - v] = 1;
      for (int64_t j = 0; p_.erase && j < c; j++)
        for (int64_t row = j; row < writes_; row += kChunk)
          error -= splat(weights[row]) * load(now_.written[row] + v);
      product = fma(load(dn + v), error, product);
    }
    for (int64_t i = 0; p_.erase && i < K_; i += kLanes) {
      Vec seen{};
      for (int64_t v = 0; v < p_.V; v++) seen = fma(splat(dn[v]), load(state[v] + i), seen);
      product -= seen * load(erased(read_)[c] + i);
    }
    return sum(product);
  }

  // dv of a second write, whose values are no errors.
  void through_values() {
    const Rows scores = second_columns(scores_);
    multiply<kStore>(ahead_, now_.rows, V_, {derror_}, times(second_rows(now_.write), dstate_, p_.K),
                     transposed_times<kUpper>(scores, doutput_, now_.count),
                     transposed_times<kUpper>(erased(scores), erased(doutput_), p_.erase ? now_.count : 0));
    unstage_rows(args_.dv + place(now_.t) * p_.V, p_.heads * p_.V, derror_.data, derror_.stride, now_.count, p_.V);
  }

  static constexpr float kSmallestBeta = 1e-30f;

  Rows derror_;
};

FW_NAMESPACE_END
