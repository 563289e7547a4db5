// The sweep of a plain rule whose gate runs over the values, and so over the lanes: what keys and values that changed
// places make of a gate per key. The sweep knows no gate here, either (stage.h): `carried` lies beside the block, a
// factor for each of its values, and goes into what is read and what is written.
#pragma once
#include "sweep.h"

FW_NAMESPACE_BEGIN

// The factors of a gate of values, e^gate, in rows of `padded`: all tokens of a stage at once, so that no sweep waits.
static void stage_value_decays(float* decays, int64_t padded, const TokenRows& gate, int64_t t, int64_t count,
                               int64_t from, int64_t n) {
  for (int64_t c = 0; c < count; c++)
    for (int64_t i = 0; i < n; i += kLanes)
      store(decays + c * padded + i, vexp(load_row(gate[t + c] + from, i, n)));
}

// Forms the state itself [rows, lanes]: nothing is carried.
FW_INLINE void settle_values(float* state, int64_t rows, int64_t lanes, float* carried) {
  for (int64_t i = 0; i < rows; i++)
    for (int64_t n = 0; n < lanes; n += kLanes) {
      float* s = state + i * lanes + n;
      store(s, load(s) * load(carried + n));
    }
  for (int64_t n = 0; n < lanes; n += kLanes) store(carried + n, splat(1));
}

template <int C, int NV>
static __attribute__((noinline)) void run_gated_block(const Stage& s, int64_t K, int64_t count, const ValueBlock& b,
                                                      const RowsAhead& ahead) {
  const int64_t groups = (count + C - 1) / C;
  Vec r[C][NV], nothing[C][NV] = {}, carried[NV];
  each<C>([&](auto c) { each<NV>([&](auto n) { r[c][n] = load(b.pending + (c * NV + n) * kLanes); }); });
  each<NV>([&](auto n) { carried[n] = load(b.carried + n * kLanes); });
  const float *v_row = b.v.data, *decay_row = b.decays.data, *pairs = s.pairs;
  float* output_row = b.output.data;
  for (int64_t g = 0; g < groups; g++) {
    const int64_t at = g * C * s.K;
    Vec output[C][NV] = {}, write[C][NV] = {};
    sweep<false, false, false>(b.state, K, s.K, nullptr, s.write + at - C * s.K, nullptr, nullptr, s.read + at, r,
                               nothing, nothing, output);
    for (int c = 0; c < C; c++) ahead.fetch(g * C + c);
    each<C>([&](auto c) {
      const int64_t t = g * C + c;
      if (t >= count) return;
      each<NV>([&](auto n) {
        const Vec decay = load(decay_row + n * kLanes);
        carried[n] *= decay;
        Vec y = carried[n] * output[c][n];
        each<c>([&](auto j) {
          write[j][n] *= decay;
          y = fma(splat(pairs[pair(c, j)]), write[j][n], y);
        });
        write[c][n] = load(v_row + n * kLanes) * splat(s.beta[t]);
        store(output_row + n * kLanes, fma(splat(pairs[pair(c, c)]), write[c][n], y));
      });
      v_row += b.v.stride, decay_row += b.decays.stride, output_row += b.output.stride;
    });
    pairs += s.pair_kinds * kPairs<C>;
    VecInt kept = Vec{} == Vec{};
    each<NV>([&](auto n) { kept &= (carried[n] > splat(kSmallest)) & (carried[n] < splat(kLargest)); });
    if (!all(kept)) {
      each<NV>([&](auto n) { store(b.carried + n * kLanes, carried[n]); });
      settle_values(b.state, K, NV * kLanes, b.carried);
      each<NV>([&](auto n) { carried[n] = splat(1); });
    }
    each<NV>([&](auto n) {
      const Vec inverse = splat(1) / carried[n];
      each<C>([&](auto c) { r[c][n] = write[c][n] * inverse; });
    });
  }
  each<C>([&](auto c) { each<NV>([&](auto n) { store(b.pending + (c * NV + n) * kLanes, r[c][n]); }); });
  each<NV>([&](auto n) { store(b.carried + n * kLanes, carried[n]); });
}

FW_NAMESPACE_END
