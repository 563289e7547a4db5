// Sums over contiguous floats whose order depends on their number only.
#pragma once
#include "vec.h"

FW_NAMESPACE_BEGIN

// x with zeros from element n on.
FW_INLINE Vec keep_first(Vec x, int64_t n) {
  for (int64_t i = n; i < kLanes; i++) x[i] = 0;
  return x;
}

// The sum of the vectors term(i, left) for i = begin, begin + kLanes, ... below end, up to the lanes, left = n - i elements
// from the end; a term has zeros from element `left` on.
template <class Term>
FW_INLINE Vec sum_between(int64_t begin, int64_t end, int64_t n, const Term& term) {
  Vec s0{}, s1{}, s2{}, s3{};
  int64_t i = begin;
  for (; i + 4 * kLanes <= end; i += 4 * kLanes) {
    s0 += term(i, n - i);
    s1 += term(i + kLanes, n - i - kLanes);
    s2 += term(i + 2 * kLanes, n - i - 2 * kLanes);
    s3 += term(i + 3 * kLanes, n - i - 3 * kLanes);
  }
  for (; i < end; i += kLanes) s0 += term(i, n - i);
  return (s0 + s1) + (s2 + s3);
}

// The sum of the terms of n elements. Float sums of blocks are gathered in double, so that the error does not grow with n.
constexpr int64_t kSumBlock = 128 * kLanes;
template <class Term>
FW_INLINE double sum_of(int64_t n, const Term& term) {
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += kSumBlock)
    total += sum(sum_between(begin, begin + kSumBlock < n ? begin + kSumBlock : n, n, term));
  return total;
}

// The largest of x[n], n > 0; a NaN may be passed over.
FW_INLINE float largest(const float* x, int64_t n) {
  if (n >= kLanes) {
    Vec m0 = load(x), m1 = m0;
    int64_t i = 0;
    for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
      m0 = vmax(m0, load(x + i));
      m1 = vmax(m1, load(x + i + kLanes));
    }
    if (i + kLanes <= n) m0 = vmax(m0, load(x + i));
    return fold_lanes(vmax(vmax(m0, m1), load(x + n - kLanes)), vmax);
  }
  float top = x[0];
  for (int64_t i = 1; i < n; i++) top = x[i] > top ? x[i] : top;
  return top;
}

FW_NAMESPACE_END
