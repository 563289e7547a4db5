// A normaliser: the last value of the state, 1 in every token. What is read of the others is divided by
// max(|s|, e^-m) + eps, s being what is read of it and m the logarithm of what the state was divided by.
#pragma once
#include "problem.h"

FW_NAMESPACE_BEGIN

// e^-m
FW_INLINE Vec least_size(Vec m) { return vexp(-vmax(splat(kLeastMax), m)); }
FW_INLINE Vec divisors(Vec sums, Vec m, float eps) { return vmax(least_size(m), size_of(sums)) + splat(eps); }

// The gradient of what was read of the state, from that of the output: a row of `padded`, first the values. `at` counts
// tokens and heads. What comes to m is that of eps: neither e^m S nor e^m e^-m changes with it.
static inline void stage_read_gradient(const recurrenceBackwardArgs& args, const Problem& p, int64_t at, float* row,
                                       int64_t padded) {
  const float *output = args.output + at * p.values, *doutput = args.doutput + at * p.values;
  const Vec sums = splat(args.sums[at]), m = splat(p.max[at]), inverse = splat(1) / divisors(sums, m, p.eps);
  Vec products{};
  for (int64_t i = 0; i < padded; i += kLanes) {
    const Vec dread = load_row(doutput, i, p.values) * inverse;
    products = fma(dread, load_row(output, i, p.values), products);
    store(row + i, dread);
  }
  const float ddivisor = -sum(products);
  const Vec dsums = select(size_of(sums) > least_size(m), with_sign(splat(1), sums), Vec{}) * splat(ddivisor);
  row[p.values] = dsums[0];
  args.dmax[at] = p.eps * ddivisor;
}

FW_NAMESPACE_END
