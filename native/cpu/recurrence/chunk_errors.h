// What of a chunk goes through the values that it wrote: from dO and D, the gradient of the state after it, to dR, dv
// and dbeta (the equations stand in backward_chunk.h).
#pragma once
#include "chunk_states.h"

FW_NAMESPACE_BEGIN

template <Gate kGate>
class ChunkErrors : protected ChunkStates<kGate> {
  using States = ChunkStates<kGate>;

 protected:
  using States::args_, States::p_, States::K_, States::V_, States::ahead_, States::beta_, States::read_,
      States::doutput_, States::parts_, States::sums_, States::place, States::writes_, States::state_before;

  ChunkErrors(const Context& cx, const recurrenceBackwardArgs& args, const Problem& p, int64_t head)
      : States(cx, args, p, head) {}

  void lay_out_errors(Arena& arena) {
    this->lay_out_states(arena);
    dstate_ = rows_in(arena, K_, V_);
    derror_ = rows_in(arena, kChunk, V_), scores_ = rows_in(arena, 2 * kChunk, writes_);
  }

  // Where scores, or their gradients, are put: those of tokens with what was written before them.
  Target triangles(Rows scores, int64_t rows) const {
    return {scores, {}, nullptr, nullptr, rows, p_.read_before};
  }

  void through_writes(const Kept& kept, int64_t c, int64_t rows) {
    const int64_t t = this->start_of(c), count = this->length_of(c);
    multiply<kStore>(ahead_, rows, V_, {derror_}, times(kept.write, dstate_, p_.K),
                     transposed_times<kUpper>(scores_, doutput_, count));
    through_error(kept, t, count, rows, state_before(c));
    if (p_.second_write) through_values(kept, t, count, rows);
  }

  Rows dstate_, scores_;  // D, [K, V]; [Q'; E'] W'^T, stacked like read_

 private:
  // P, dR = beta P, which goes out as dv and, negated, below dO; dbeta = P . (v - a), where v - a = N / beta.
  void through_error(const Kept& kept, int64_t t, int64_t count, int64_t rows, Rows state) {
    const auto divides = [&](int64_t c) { return beta_[c] > kSmallestBeta || beta_[c] < -kSmallestBeta; };
    bool all_divide = true;
    for (int64_t c = 0; c < count; c++) all_divide &= divides(c);
    const bool whole = count == kChunk && all_divide;
    for (int64_t v = 0; v < V_; v += kLanes) {
      if (whole && v + kLanes <= p_.values) {
        solve<true>(kept, t, count, rows, v);
      } else {
        solve<false>(kept, t, count, rows, v);
      }
    }
    if (!p_.beta_width) return;
    sum_vectors(this->sums_, parts_, kChunk);
    for (int64_t c = 0; c < count; c++)
      args_.dbeta[place(t + c)] = divides(c) ? this->sums_[c] / beta_[c] : error_product(kept, t, c, rows, state);
  }

  // Columns v ... of P, from the last token to the first, kept in the place of dN unless all is whole: kChunk tokens,
  // whole vectors, no division by next to nothing.
  template <bool kWhole>
  __attribute__((noinline)) void solve(const Kept& kept, int64_t t, int64_t count, int64_t rows, int64_t v) {
    const int64_t dv_row = p_.heads * p_.values;
    const Rows written = kept.written.from(0, v), factors = scores_.from(rows), error = doutput_.from(rows, v);
    float* dv = args_.dv + place(t) * p_.values;
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
  float error_product(const Kept& kept, int64_t t, int64_t c, int64_t rows, Rows state) const {
    const float *value = this->x_.v[this->begin_ + t + c], *dn = derror_[c];
    const float* weights = scores_[rows + c];
    Vec product{};
    for (int64_t v = 0; v < p_.V; v += kLanes) {
      Vec error = p_.second_write ? Vec{} : load_row(value, v, p_.values);
      if (p_.values < p_.V && p_.values - v < kLanes) error[p_.values - v] = 1;
      for (int64_t j = 0; p_.erase && j < c; j++)
        for (int64_t row = j; row < writes_; row += kChunk)
          error -= splat(weights[row]) * load(kept.written[row] + v);
      product = fma(load(dn + v), error, product);
    }
    for (int64_t i = 0; p_.erase && i < K_; i += kLanes) {
      Vec seen{};
      for (int64_t v = 0; v < p_.V; v++) seen = fma(splat(dn[v]), load(state[v] + i), seen);
      product -= seen * load(read_[rows + c] + i);
    }
    return sum(product);
  }

  // dv of a second write, whose values are no errors.
  void through_values(const Kept& kept, int64_t t, int64_t count, int64_t rows) {
    multiply<kStore>(
        ahead_, rows, V_, {derror_}, times(kept.write.from(kChunk), dstate_, p_.K),
        transposed_times<kUpper>(scores_.from(0, kChunk), doutput_, count),
        transposed_times<kUpper>(scores_.from(rows, kChunk), doutput_.from(rows), p_.erase ? count : 0));
    unstage_rows(args_.dv + place(t) * p_.V, p_.heads * p_.V, derror_.data, derror_.stride, count, p_.V);
  }

  static constexpr float kSmallestBeta = 1e-30f;

  Rows derror_;
};

FW_NAMESPACE_END
