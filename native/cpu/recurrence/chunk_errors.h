// What of a chunk goes through the values that it wrote: from dO and D, the gradient of the state after it, to dR, dv
// and dbeta, and to the state before it (the equations stand in backward_chunk.h). All but dbeta is made column by
// column of the values, so that threads may share these out: no sum runs over them.
#pragma once
#include "chunk_column.h"
#include "chunk_states.h"

FW_NAMESPACE_BEGIN

constexpr float kSmallestBeta = 1e-30f;
inline bool divides(float beta) { return beta > kSmallestBeta || beta < -kSmallestBeta; }

// Where scores, or their gradients, are put: those of tokens with what was written before them.
inline Target triangles(const Pass& s, const Chunk& x, Rows scores) {
  return {scores, {}, nullptr, nullptr, x.rows, s.p.read_before};
}

// Whether columns v ... of a chunk are whole: kChunk tokens, a whole vector, no division by next to nothing.
inline bool divides_all(const Chunk& x) {
  bool all = x.count == kChunk;
  for (int64_t c = 0; c < x.count; c++) all &= divides(x.beta[c]);
  return all;
}
inline bool is_whole(const Pass& s, bool divides_all, int64_t v) { return divides_all && v + kLanes <= s.p.values; }

// Columns v ... of P and dR = beta P, which goes out as dv and, negated, below dO; from the last token to the first. In
// the place of dN stays P N where they are whole, else P.
template <bool kWhole>
static __attribute__((noinline)) void solve_errors(const Pass& s, const Chunk& x, int64_t v) {
  const int64_t values = s.p.values, count = kWhole ? kChunk : x.count, dv_row = s.p.heads * values;
  const int64_t v_row = x.derror.stride, w_row = x.scores.stride;  // of all rows of values, and of scores
  const float *beta = x.beta, *written = x.written[count - 1] + v, *factors = x.erased(x.scores)[count - 1];
  const bool erase = s.p.erase, strengths = s.p.beta_width;
  float *derror = x.derror[count - 1] + v, *error = x.erased(x.doutput)[count - 1] + v;
  float* dv = s.args.dv + s.place(x.t + count - 1) * values;
  Vec p[kChunk];
#pragma GCC unroll 16
  for (int64_t c = 0; c < kChunk; c++) p[c] = kWhole || c < count ? load(x.derror[c] + v) : Vec{};
#pragma GCC unroll 16
  for (int64_t r = 0; r < kChunk; r++) {
    const int64_t c = kChunk - 1 - r;
    if (!kWhole && c >= count) continue;
    const Vec dr = splat(beta[c]) * p[c];
    if (strengths || !kWhole) store(derror, kWhole ? p[c] * load(written) : p[c]);
    if (kWhole) {
      store(dv + v, dr);
    } else {
      store_row(dv, v, values, dr);  // whose part vectors would spill p here
    }
    if (erase) {
      store(error, -dr);
#pragma GCC unroll 16
      for (int64_t j = 0; j < kChunk; j++)
        if (j < c) p[j] -= splat(factors[j]) * dr;
    }
    derror -= v_row, written -= v_row, error -= v_row, factors -= w_row, dv -= dv_row;
  }
}

// dR and dv of columns [from, to), whole vectors of them.
static void through_writes(Ahead& ahead, const Pass& s, const Chunk& x, int64_t from, int64_t to) {
  const Problem& p = s.p;
  const auto columns = [&](Rows rows) { return rows.from(0, from); };
  multiply<kStore>(ahead, x.rows, to - from, {columns(x.derror)}, times(x.write, columns(x.dstate), p.K),
                   transposed_times<kUpper>(x.scores, columns(x.doutput), x.count));
  if (s.with_column(to)) column_through_writes(s, x);
  const bool all = divides_all(x);
  for (int64_t v = from; v < to; v += kLanes) {
    if (is_whole(s, all, v)) {
      solve_errors<true>(s, x, v);
    } else {
      solve_errors<false>(s, x, v);
    }
  }
  if (!p.second_write) return;
  // The values of a second write are no errors.
  const Rows scores = second_columns(x.scores);
  multiply<kStore>(ahead, x.rows, to - from, {columns(x.dvalues)},
                   times(second_rows(x.write), columns(x.dstate), p.K),
                   transposed_times<kUpper>(scores, columns(x.doutput), x.count),
                   transposed_times<kUpper>(x.erased(scores), columns(x.erased(x.doutput)), p.erase ? x.count : 0));
  unstage_rows(s.args.dv + s.place(x.t) * p.V + from, p.heads * p.V, columns(x.dvalues).data, x.dvalues.stride,
               x.count, least(to, p.V) - from);
}

// From D after the chunk to D before it, columns [from, to); `continues` says that the chunk has the b_middle of the
// one before it.
template <Gate kGate>
static void through_state(Ahead& ahead, const Pass& s, const Chunk& x, bool continues, int64_t from, int64_t to) {
  const auto columns = [&](Rows rows) { return rows.from(0, from); };
  const int64_t K = round_up(s.p.K, 4), count = to - from;
  if (s.with_column(to)) column_through_state(s, x, continues);
  const Rows doutput = columns(x.doutput), after = columns(x.dstate), before = columns(x.dbefore);
  if (!x.anchors) {
    const auto reads = transposed_times(x.read, doutput, stacked_rows(s, x));
    const Target target{before, after, x.start, x.before_end};
    if (kGate == kUngated || continues) return multiply<kAdd>(ahead, K, count, target, reads);
    if constexpr (kGate != kUngated) multiply<kScaledRows>(ahead, K, count, target, reads);
    return;
  }
  // What the first token reads before its decay has no part in the gradient of that decay.
  const Rows middle = columns(x.dmiddle);
  multiply<kAdd>(ahead, K, count, {middle, after}, transposed_times(x.decayed, doutput, stacked_rows(s, x)));
  for (int64_t i = 0; i < s.p.K; i++)
    for (int64_t v = 0; v < count; v += kLanes) {
      Vec d = load(middle[i] + v);
      undecayed_rows(s, x, [&](int64_t row) { d = fma(splat(x.read[row][i]), load(doutput[row] + v), d); });
      store(before[i] + v, d * splat(x.start[i]) * splat(x.before_end[i]));
    }
}

// P . (v - a) of a token that wrote nothing.
static float error_product(const Pass& s, const Chunk& x, int64_t c) {
  const Problem& p = s.p;
  const float *value = s.x.v[s.sequence.begin + x.t + c], *dn = x.derror[c], *weights = x.erased(x.scores)[c];
  Vec product{};
  for (int64_t v = 0; v < p.V; v += kLanes) {
    Vec error = p.second_write ? Vec{} : load_row(value, v, p.values);
    if (p.values < p.V && p.values - v < kLanes) error[p.values - v] = 1;
    for (int64_t j = 0; p.erase && j < c; j++)
      for (int64_t row = j; row < s.writes; row += kChunk) error -= splat(weights[row]) * load(x.written[row] + v);
    product = fma(load(dn + v), error, product);
  }
  for (int64_t i = 0; p.erase && i < s.K; i += kLanes) {
    Vec seen{};
    for (int64_t v = 0; v < p.V; v++) seen = fma(splat(dn[v]), load(x.state[v] + i), seen);
    product -= seen * load(x.erased(x.read)[c] + i);
  }
  return sum(product);
}

// dbeta = P . (v - a), where v - a = N / beta.
static void write_strengths(const Pass& s, const Chunk& x) {
  if (!s.p.beta_width) return;
  float parts[kChunk * kLanes], sums[kChunk];
  const bool all = divides_all(x);
  for (int64_t c = 0; c < kChunk; c++) {
    Vec total{};
    for (int64_t v = 0; c < x.count && v < s.V; v += kLanes) {
      const Vec y = load(x.derror[c] + v);
      total += is_whole(s, all, v) ? y : y * load(x.written[c] + v);
    }
    store(parts + c * kLanes, total);
  }
  sum_vectors(sums, parts, kChunk);
  for (int64_t c = 0; c < x.count; c++)
    s.args.dbeta[s.place(x.t + c)] = divides(x.beta[c]) ? sums[c] / x.beta[c] : error_product(s, x, c);
}

FW_NAMESPACE_END
