// The sweep over the state: one pass writes what the group of tokens before left to write and multiplies the state with
// the keys and queries of the present group. Lanes run over the value dimension, so that nothing is summed across
// lanes; a block of NV vectors of the state stays in the first-level cache for a whole stage of tokens.
#pragma once
#include "stage.h"

FW_NAMESPACE_BEGIN

// A block of NV vectors of the value dimension: the state [K, NV * kLanes], and rows of the operands at their strides.
struct ValueBlock {
  float* state;
  const float* v;
  const float* beta;  // null unless beta is a vector
  float *output, *written;  // written may be null
  int64_t v_stride, beta_stride, output_stride, written_stride;
};

// Memory that comes next, one row per token, fetched while the sweep computes.
struct Ahead {
  struct Row {
    const float* data;
    int64_t stride, length;
  };
  Row rows[8];
  int count = 0;
  void add(const float* data, int64_t stride, int64_t length) { rows[count++] = {data, stride, length}; }
};

template <int C, int NV, bool Erase, bool Second, bool Decay>
FW_INLINE void sweep(float* state, int64_t K, int64_t row, const float* decay, const float* write, const float* second,
                     const float* erase, const float* read, const Vec (&r)[C][NV], const Vec (&v)[C][NV],
                     Vec (&erased)[C][NV], Vec (&output)[C][NV]) {
#pragma GCC unroll 1
  for (int64_t i = 0; i < K; i++) {
    float* s = state + i * NV * kLanes;
    Vec x[NV];
#pragma GCC unroll 4
    for (int n = 0; n < NV; n++) x[n] = load(s + n * kLanes);
    if (Decay) {
      const Vec d = splat(decay[i]);
#pragma GCC unroll 4
      for (int n = 0; n < NV; n++) x[n] *= d;
    }
#pragma GCC unroll 4
    for (int c = 0; c < C; c++) {
      const Vec w = splat(write[c * row + i]);
#pragma GCC unroll 4
      for (int n = 0; n < NV; n++) x[n] = fma(r[c][n], w, x[n]);
      if (!Second) continue;
      const Vec k = splat(second[c * row + i]);
#pragma GCC unroll 4
      for (int n = 0; n < NV; n++) x[n] = fma(v[c][n], k, x[n]);
    }
#pragma GCC unroll 4
    for (int n = 0; n < NV; n++) store(s + n * kLanes, x[n]);
    if (Erase) {
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

// All staged tokens over one block of values. Afterwards the block holds the state after the last of them.
template <int C, int NV, bool Erase, bool Second>
static __attribute__((noinline)) void run_block(const Stage& s, int64_t K, int64_t count, const ValueBlock& b,
                                                const Ahead& ahead) {
  const int64_t groups = (count + C - 1) / C;
  const bool use_second = s.pair_kinds > kReadSecond, use_beta = b.beta != nullptr;
  Vec r[C][NV] = {}, v[C][NV] = {};
  for (int64_t g = 0; g <= groups; g++) {
    const bool last = g == groups;
    // The first sweep of a block has nothing to write, the last one nothing to read.
    const int64_t at = (last ? g - 1 : g) * C * s.K, before = (g > 0 ? g - 1 : 0) * C * s.K;
    const float* second = Second ? s.second + before : nullptr;
    Vec erased[C][NV] = {}, output[C][NV] = {};
    if (last) {
      const float* decay = s.decay + (g - 1) * s.K;
#pragma GCC unroll 1
      for (int64_t i = 0; i < K; i++) {
        const Vec d = splat(s.decays[g - 1] ? decay[i] : 1.0f);
#pragma GCC unroll 4
        for (int n = 0; n < NV; n++) {
          float* state = b.state + (i * NV + n) * kLanes;
          Vec x = load(state) * d;
#pragma GCC unroll 4
          for (int c = 0; c < C; c++) {
            x = fma(r[c][n], splat(s.write[before + c * s.K + i]), x);
            if (Second) x = fma(v[c][n], splat(second[c * s.K + i]), x);
          }
          store(state, x);
        }
      }
      return;
    }
    if (g > 0 && s.decays[g - 1]) {
      sweep<C, NV, Erase, Second, true>(b.state, K, s.K, s.decay + (g - 1) * s.K, s.write + before, second,
                                        s.erase + at, s.read + at, r, v, erased, output);
    } else {
      sweep<C, NV, Erase, Second, false>(b.state, K, s.K, nullptr, s.write + before, second, s.erase + at, s.read + at,
                                         r, v, erased, output);
    }
    const float* pairs = s.pairs + g * s.pair_kinds * kPairs<C>;
    Vec write[C][NV], value[C][NV];
#pragma GCC unroll 4
    for (int c = 0; c < C; c++) {
      const int64_t t = g * C + c;
#pragma GCC unroll 4
      for (int n = 0; n < NV; n++) write[c][n] = value[c][n] = Vec{};
      if (t >= count) continue;
      const float* dots = pairs + pair(c, 0);
      const Vec erase_scale = splat(s.erase_scale[t]), read_scale = splat(s.read_scale[t]), beta = splat(s.beta[t]);
#pragma GCC unroll 4
      for (int n = 0; n < NV; n++) {
        value[c][n] = load(b.v + t * b.v_stride + n * kLanes);
        Vec error = Second ? Vec{} : value[c][n];
        if (Erase) {
          error -= erase_scale * erased[c][n];
#pragma GCC unroll 4
          for (int j = 0; j < c; j++) {
            error -= splat(dots[kEraseWrite * kPairs<C> + j]) * write[j][n];
            if (Second) error -= splat(dots[kEraseSecond * kPairs<C> + j]) * value[j][n];
          }
        }
        write[c][n] = error * (use_beta ? load(b.beta + t * b.beta_stride + n * kLanes) : beta);
        Vec y = read_scale * output[c][n];
#pragma GCC unroll 4
        for (int j = 0; j <= c; j++) y = fma(splat(dots[j]), write[j][n], y);
        if (use_second) {
#pragma GCC unroll 4
          for (int j = 0; j <= c; j++) y = fma(splat(dots[kReadSecond * kPairs<C> + j]), value[j][n], y);
        }
        store(b.output + t * b.output_stride + n * kLanes, y);
        if (b.written) store(b.written + t * b.written_stride + n * kLanes, write[c][n]);
      }
      for (int i = 0; i < ahead.count; i++) {
        const Ahead::Row& next = ahead.rows[i];
        prefetch_row(next.data + t * next.stride, next.length);
      }
    }
#pragma GCC unroll 4
    for (int c = 0; c < C; c++) {
      const Vec scale = splat(s.write_scale[g * C + c]);
#pragma GCC unroll 4
      for (int n = 0; n < NV; n++) {
        r[c][n] = scale * write[c][n];
        if (Second) v[c][n] = scale * value[c][n];
      }
    }
  }
}

FW_NAMESPACE_END
