// Exchanged keys and values without an erase: S~ = S^T is the state of a plain rule that takes keys for values and
// values for keys,
//   S~_t = S~_{t-1} D_t + r_t w_t^T      o_t = scale S~_t^T q_t      r_t = beta_t v_t
// but for its gate, which runs over the values where there is one per key.
#pragma once
#include "../lanes.h"
#include "problem.h"

FW_NAMESPACE_BEGIN

inline bool turns(const Problem& p) { return p.exchanged && !p.erase && !p.second_write && p.beta_width <= 1; }

// That rule; its `gate` is no longer one of keys.
static Problem turn(const Problem& p) {
  Problem plain = p;
  plain.k = plain.erase_key = plain.write_key = p.v, plain.v = p.write_key;
  plain.K = p.V, plain.V = plain.values = p.K;
  if (p.gate_width > 1) plain.gate_width = 0;
  return plain;
}

// y[rows, padded] = x[n, rows] turned over, zeros beyond column n; and back.
static void stage_turned(float* y, int64_t padded, const float* x, int64_t stride, int64_t rows, int64_t n) {
  for (int64_t i = 0; i < padded; i += kLanes)
    for (int64_t r = 0; r < rows; r += kLanes) {
      Vec t[kLanes];
#pragma GCC unroll 16
      for (int64_t j = 0; j < kLanes; j++) t[j] = i + j < n ? load_row(x + (i + j) * stride, r, rows) : Vec{};
      transpose(t);
#pragma GCC unroll 16
      for (int64_t j = 0; j < kLanes; j++)
        if (r + j < rows) store(y + (r + j) * padded + i, t[j]);
    }
}
static void unstage_turned(float* y, int64_t stride, const float* x, int64_t padded, int64_t rows, int64_t n) {
  for (int64_t i = 0; i < n; i += kLanes)
    for (int64_t r = 0; r < rows; r += kLanes) {
      Vec t[kLanes];
#pragma GCC unroll 16
      for (int64_t j = 0; j < kLanes; j++) t[j] = r + j < rows ? load(x + (r + j) * padded + i) : Vec{};
      transpose(t);
#pragma GCC unroll 16
      for (int64_t j = 0; j < kLanes; j++)
        if (i + j < n) store_row(y + (i + j) * stride, r, rows, t[j]);
    }
}

// r = beta v, which the backward pass asks for: here they are keys.
static void write_turned(float* r, int64_t r_stride, const float* v, int64_t v_stride, const float* beta, int64_t count,
                         int64_t n) {
  for (int64_t c = 0; c < count; c++)
    for (int64_t i = 0; i < n; i += kLanes)
      store_row(r + c * r_stride, i, n, load_row(v + c * v_stride, i, n) * splat(beta[c]));
}

FW_NAMESPACE_END
