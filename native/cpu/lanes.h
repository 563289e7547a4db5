// Exchanging lanes with vectors: transposing a square of kLanes vectors, and summing many vectors at once.
#pragma once
#include "vec.h"

FW_NAMESPACE_BEGIN

// Calls f(Index<0>()) ... f(Index<N - 1>()): a loop whose counter is a constant from the start, so that arrays of
// vectors indexed by it live in registers.
template <int I>
struct Index {
  constexpr operator int() const { return I; }
};
template <int... I, class F>
FW_INLINE void each_of(Lanes<I...>, const F& f) {
  (f(Index<I>()), ...);
}
template <int N, class F>
FW_INLINE void each(const F& f) {
  each_of(typename EachLane<N>::type(), f);
}

template <int Step>
FW_INLINE VecInt and_level(VecInt x) {
  if constexpr (Step < kLanes) return and_level<Step * 2>(x & swapped<Step>(x, AllLanes()));
  return x;
}
// Whether every lane of a comparison holds.
FW_INLINE bool all(VecInt mask) { return and_level<1>(mask)[0] != 0; }

// Of a pair of vectors seen as 2 x 2 squares of Step lanes: the first and the second row of the transposed squares.
template <int Step, int... I>
FW_INLINE Vec first_row(Vec a, Vec b, Lanes<I...>) {
  return __builtin_shufflevector(a, b, ((I & Step) ? kLanes + I - Step : I)...);
}
template <int Step, int... I>
FW_INLINE Vec second_row(Vec a, Vec b, Lanes<I...>) {
  return __builtin_shufflevector(a, b, ((I & Step) ? kLanes + I : I + Step)...);
}

template <int Step>
FW_INLINE void transpose_level(Vec (&x)[kLanes]) {
  if constexpr (Step < kLanes) {
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; i++) {
      if (i & Step) continue;
      const Vec a = x[i], b = x[i + Step];
      x[i] = first_row<Step>(a, b, AllLanes());
      x[i + Step] = second_row<Step>(a, b, AllLanes());
    }
    transpose_level<Step * 2>(x);
  }
}
FW_INLINE void transpose(Vec (&x)[kLanes]) { transpose_level<1>(x); }

template <int Step>
FW_INLINE void sum_level(Vec (&x)[kLanes]) {
  if constexpr (Step < kLanes) {
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; i += 2 * Step)
      x[i] = first_row<Step>(x[i], x[i + Step], AllLanes()) + second_row<Step>(x[i], x[i + Step], AllLanes());
    sum_level<Step * 2>(x);
  }
}
// Lane i of the result is the sum of vector i, always added in the same order.
FW_INLINE Vec sum_each(Vec (&x)[kLanes]) {
  sum_level<1>(x);
  return x[0];
}
// y[n] = sums of n vectors; n is a multiple of kLanes.
static inline void sum_vectors(float* y, const float* vectors, int64_t n) {
  for (int64_t i = 0; i < n; i += kLanes) {
    Vec x[kLanes];
#pragma GCC unroll 16
    for (int j = 0; j < kLanes; j++) x[j] = load(vectors + (i + j) * kLanes);
    store(y + i, sum_each(x));
  }
}

FW_NAMESPACE_END
