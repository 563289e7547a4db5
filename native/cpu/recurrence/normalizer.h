// A normaliser: the last value of the state, 1 in every token. What is read of the others is divided by
// max(|s|, e^-m) + eps, s being what is read of it and m the logarithm of what the state was divided by.
#pragma once
#include "rows.h"

FW_NAMESPACE_BEGIN

// e^-m
FW_INLINE Vec least_size(Vec m) { return vexp(-vmax(splat(kLeastMax), m)); }
FW_INLINE Vec divisors(Vec sums, Vec m, float eps) { return vmax(least_size(m), size_of(sums)) + splat(eps); }

// The gradients of what `count` tokens of a head read of the state, from those of the output: rows of `padded`, first
// the values. `at` counts tokens and heads. What comes to m is that of eps: neither e^m S nor e^m e^-m changes with it.
static inline void stage_read_gradients(const recurrenceBackwardArgs& args, const Problem& p, int64_t at, int64_t count,
                                        Rows rows, int64_t padded) {
  alignas(64) float sums[kChunk] = {}, m[kChunk] = {}, inverses[kChunk], ddivisors[kChunk], parts[kChunk * kLanes] = {};
  for (int64_t c = 0; c < count; c++) sums[c] = args.sums[at + c * p.heads], m[c] = p.max[at + c * p.heads];
  for (int64_t c = 0; c < kChunk; c += kLanes)
    store(inverses + c, splat(1) / divisors(load(sums + c), load(m + c), p.eps));
  for (int64_t c = 0; c < count; c++) {
    const int64_t first = (at + c * p.heads) * p.values;
    const float *output = args.output + first, *doutput = args.doutput + first;
    const Vec inverse = splat(inverses[c]);
    Vec products{};
    for (int64_t i = 0; i < padded; i += kLanes) {
      const Vec dread = load_row(doutput, i, p.values) * inverse;
      products = fma(dread, load_row(output, i, p.values), products);
      store(rows[c] + i, dread);
    }
    store(parts + c * kLanes, products);
  }
  sum_vectors(ddivisors, parts, kChunk);
  for (int64_t c = 0; c < kChunk; c += kLanes) {
    const Vec s = load(sums + c), ddivisor = -load(ddivisors + c);
    const Vec slope = select(size_of(s) > least_size(load(m + c)), with_sign(splat(1), s), Vec{});
    store(ddivisors + c, splat(p.eps) * ddivisor), store(sums + c, slope * ddivisor);
  }
  for (int64_t c = 0; c < count; c++) rows[c][p.values] = sums[c], args.dmax[at + c * p.heads] = ddivisors[c];
}

FW_NAMESPACE_END
