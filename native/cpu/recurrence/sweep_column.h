// The sweep of a plain rule over one value alone, such as a normaliser beside the values of a memory: lanes run over the
// keys. What is written waits for nothing that is read, so that sums over lanes are made for a whole stage at once.
#pragma once
#include "sweep.h"

FW_NAMESPACE_BEGIN

// State x [K], its decay at the end of a group and what that group wrote.
template <int C>
FW_INLINE Vec advance_keys(const Stage& s, int64_t g, int64_t i, const float* state, const float (&r)[C]) {
  Vec x = load(state + i);
  if (s.decays[g]) x *= load(s.decay + g * s.K + i);
  each<C>([&](auto c) { x = fma(splat(r[c]), load(s.write + (g * C + c) * s.K + i), x); });
  return x;
}

// `memory` has room for a vector and two numbers per token.
template <int C>
static __attribute__((noinline)) void run_column(const Stage& s, int64_t count, const ValueBlock& b, float* memory,
                                                 const RowsAhead& ahead) {
  const int64_t groups = (count + C - 1) / C, padded = round_up(groups * C, kLanes);
  float *parts = memory, *sums = memory + padded * kLanes, *write = sums + padded, r[C];
  each<C>([&](auto c) { r[c] = b.pending[c]; });
  for (int64_t t = 0; t < padded; t++)
    write[t] = t < count ? b.v[t][0] * (b.beta.data ? b.beta[t][0] : s.beta[t]) : 0;
  for (int64_t g = 0; g < groups; g++) {
    const float* read = s.read + g * C * s.K;
    Vec output[C] = {};
    for (int64_t i = 0; i < s.K; i += kLanes) {
      const Vec x = advance_keys<C>(s, g - 1, i, b.state, r);
      store(b.state + i, x);
      each<C>([&](auto c) { output[c] = fma(x, load(read + c * s.K + i), output[c]); });
    }
    for (int c = 0; c < C; c++) ahead.fetch(g * C + c);
    each<C>([&](auto c) {
      store(parts + (g * C + c) * kLanes, output[c]);
      r[c] = write[g * C + c] * s.write_scale[g * C + c];
    });
  }
  each<C>([&](auto c) { b.pending[c] = r[c]; });
  for (int64_t t = groups * C; t < padded; t++) store(parts + t * kLanes, Vec{});
  sum_vectors(sums, parts, padded);
  const float* pairs = s.pairs;
  for (int64_t g = 0; g < groups; g++, pairs += s.pair_kinds * kPairs<C>)
    each<C>([&](auto c) {
      const int64_t t = g * C + c;
      if (t >= count) return;
      float y = s.read_scale[t] * sums[t];
      each<c + 1>([&](auto j) { y += pairs[pair(c, j)] * write[g * C + j]; });
      b.output[t][0] = y;
      if (b.written.data) b.written[t][0] = write[t];
    });
}

// settle_block of such a state.
template <int C>
static void settle_column(const Stage& s, float* state, float* pending) {
  float r[C];
  each<C>([&](auto c) { r[c] = pending[c], pending[c] = 0; });
  for (int64_t i = 0; i < s.K; i += kLanes)
    store(state + i, advance_keys<C>(s, -1, i, state, r) * load(s.carried + i));
}

FW_NAMESPACE_END
