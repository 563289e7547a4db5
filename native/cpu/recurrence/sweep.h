// The sweep over the state: one pass writes what the group of tokens before left to write and multiplies the state with
// the keys and queries of the present group. Lanes run over the value dimension, so that nothing is summed across
// lanes; a block of NV vectors of the state stays in the first-level cache for a whole stage of tokens.
#pragma once
#include "ahead.h"
#include "rows.h"
#include "stage.h"

FW_NAMESPACE_BEGIN

// A block of NV vectors of the value dimension: the state [K, NV * kLanes], what the last group of the stage before has
// yet to write to it, and rows of the operands at their strides.
struct ValueBlock {
  float* state;
  float* pending;  // [C, NV] vectors that go with `write`, then those that go with `second`
  TokenRows v, beta;  // beta only if it is a vector
  TokenRows decays;   // of the values, and what they carry (sweep_gated.h)
  float* carried;
  Rows output, written;  // written may be null
};

template <bool kErase, bool kSecond, bool kDecay, int C, int NV>
FW_INLINE void sweep(float* state, int64_t K, int64_t row, const float* decay, const float* write, const float* second,
                     const float* erase, const float* read, const Vec (&r)[C][NV], const Vec (&v)[C][NV],
                     Vec (&erased)[C][NV], Vec (&output)[C][NV]) {
#pragma GCC unroll 1
  for (int64_t i = 0; i < K; i++) {
    float* s = state + i * NV * kLanes;
    Vec x[NV];
#pragma GCC unroll 4
    for (int n = 0; n < NV; n++) x[n] = load(s + n * kLanes);
    if (kDecay) {
      const Vec d = splat(decay[i]);
#pragma GCC unroll 4
      for (int n = 0; n < NV; n++) x[n] *= d;
    }
#pragma GCC unroll 4
    for (int c = 0; c < C; c++) {
      const Vec w = splat(write[c * row + i]);
#pragma GCC unroll 4
      for (int n = 0; n < NV; n++) x[n] = fma(r[c][n], w, x[n]);
      if (!kSecond) continue;
      const Vec k = splat(second[c * row + i]);
#pragma GCC unroll 4
      for (int n = 0; n < NV; n++) x[n] = fma(v[c][n], k, x[n]);
    }
#pragma GCC unroll 4
    for (int n = 0; n < NV; n++) store(s + n * kLanes, x[n]);
    if (kErase) {
#pragma GCC unroll 4
      for (int c = 0; c < C; c++) {
        const Vec e = splat(erase[c * row + i]);
#pragma GCC unroll 4
        for (int n = 0; n < NV; n++) erased[c][n] = fma(x[n], e, erased[c][n]);
      }
    }
#pragma GCC unroll 4
    for (int c = 0; c < C; c++) {
      const Vec q = splat(read[c * row + i]);
#pragma GCC unroll 4
      for (int n = 0; n < NV; n++) output[c][n] = fma(x[n], q, output[c][n]);
    }
  }
}

// All staged tokens over one block of values. What the last group writes stays pending.
template <class Rule, int NV>
static __attribute__((noinline)) void run_block(const Stage& s, int64_t K, int64_t count, const ValueBlock& b,
                                                const RowsAhead& ahead) {
  constexpr int C = Rule::kTokens;
  constexpr bool kErase = Rule::kErase, kSecond = Rule::kSecond, kScaled = Rule::kScaled;
  const int64_t groups = (count + C - 1) / C;
  const bool use_second = (kSecond || kScaled) && s.pair_kinds > kReadSecond, use_beta = b.beta.data != nullptr;
  Vec r[C][NV], v[C][NV];
#pragma GCC unroll 4
  for (int c = 0; c < C; c++)
#pragma GCC unroll 4
    for (int n = 0; n < NV; n++) {
      r[c][n] = load(b.pending + (c * NV + n) * kLanes);
      v[c][n] = kSecond ? load(b.pending + ((C + c) * NV + n) * kLanes) : Vec{};
    }
  const float *v_row = b.v.data, *beta_row = b.beta.data, *pairs = s.pairs;
  float *output_row = b.output.data, *written_row = b.written.data;
  for (int64_t g = 0; g < groups; g++) {
    const int64_t at = g * C * s.K, before = at - C * s.K;
    const float* second = kSecond ? s.second + before : nullptr;
    Vec erased[C][NV] = {}, output[C][NV] = {};
    if (s.decays[g - 1]) {
      sweep<kErase, kSecond, true>(b.state, K, s.K, s.decay + (g - 1) * s.K, s.write + before, second, s.erase + at,
                                   s.read + at, r, v, erased, output);
    } else {
      sweep<kErase, kSecond, false>(b.state, K, s.K, nullptr, s.write + before, second, s.erase + at, s.read + at, r, v,
                                    erased, output);
    }
    // Before what follows has to wait for the last sums.
    for (int c = 0; c < C; c++) ahead.fetch(g * C + c);
    Vec write[C][NV], value[C][NV];
    each<C>([&](auto c) {
      const int64_t t = g * C + c;
      each<NV>([&](auto n) { write[c][n] = value[c][n] = Vec{}; });
      if (t >= count) return;
      const float* dots = pairs + pair(c, 0);
      each<NV>([&](auto n) {
        value[c][n] = load(v_row + n * kLanes);
        Vec error = kSecond ? Vec{} : value[c][n];
        if (kErase) {
          error -= kScaled ? splat(s.erase_scale[t]) * erased[c][n] : erased[c][n];
          each<c>([&](auto j) {
            error -= splat(dots[kEraseWrite * kPairs<C> + j]) * write[j][n];
            if (kSecond) error -= splat(dots[kEraseSecond * kPairs<C> + j]) * value[j][n];
          });
        }
        write[c][n] = error * (use_beta ? load(beta_row + n * kLanes) : splat(s.beta[t]));
        Vec y = kScaled ? splat(s.read_scale[t]) * output[c][n] : output[c][n];
        each<c + 1>([&](auto j) { y = fma(splat(dots[j]), write[j][n], y); });
        if (use_second) each<c + 1>([&](auto j) { y = fma(splat(dots[kReadSecond * kPairs<C> + j]), value[j][n], y); });
        store(output_row + n * kLanes, y);
      });
      if (written_row) each<NV>([&](auto n) { store(written_row + n * kLanes, write[c][n]); });
      v_row += b.v.stride, beta_row += b.beta.stride, output_row += b.output.stride, written_row += b.written.stride;
    });
    pairs += s.pair_kinds * kPairs<C>;
    each<C>([&](auto c) {
      const Vec scale = splat(s.write_scale[g * C + c]);
      each<NV>([&](auto n) {
        r[c][n] = kScaled ? scale * write[c][n] : write[c][n];
        if (kSecond) v[c][n] = kScaled ? scale * value[c][n] : value[c][n];
      });
    });
  }
#pragma GCC unroll 4
  for (int c = 0; c < C; c++)
#pragma GCC unroll 4
    for (int n = 0; n < NV; n++) {
      store(b.pending + (c * NV + n) * kLanes, r[c][n]);
      if (kSecond) store(b.pending + ((C + c) * NV + n) * kLanes, v[c][n]);
    }
}

// Between two stages: forms the state itself, with nothing pending and nothing carried.
template <class Rule, int NV>
static __attribute__((noinline)) void settle_block(const Stage& s, int64_t K, float* state, float* pending) {
  constexpr int C = Rule::kTokens;
  for (int64_t i = 0; i < K; i++) {
    const Vec decay = splat(s.decays[-1] ? s.decay[i - s.K] : 1), carried = splat(s.carried[i]);
#pragma GCC unroll 4
    for (int n = 0; n < NV; n++) {
      Vec x = load(state + (i * NV + n) * kLanes) * decay;
#pragma GCC unroll 4
      for (int c = 0; c < C; c++) {
        x = fma(load(pending + (c * NV + n) * kLanes), splat(s.write[(c - C) * s.K + i]), x);
        if (Rule::kSecond) x = fma(load(pending + ((C + c) * NV + n) * kLanes), splat(s.second[(c - C) * s.K + i]), x);
      }
      store(state + (i * NV + n) * kLanes, x * carried);
    }
  }
  zero_row(pending, (Rule::kSecond ? 2 : 1) * C * NV * kLanes);
}

FW_NAMESPACE_END
