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

// Quarters of four lanes, rearranged. shuffle_within: every quarter takes I0 to I3 of the same quarters of a (0 to 3)
// and b (4 to 7).
#if defined(__AVX512F__)
#define FW_QUARTERS(Q) Q(0), Q(1), Q(2), Q(3)
#elif defined(__AVX2__)
#define FW_QUARTERS(Q) Q(0), Q(1)
#else
#define FW_QUARTERS(Q) Q(0)
#endif
#define FW_PICK(i, quarter) ((i) < 4 ? (i) + 4 * (quarter) : (i)-4 + kLanes + 4 * (quarter))
#define FW_PICKS(quarter) FW_PICK(I0, quarter), FW_PICK(I1, quarter), FW_PICK(I2, quarter), FW_PICK(I3, quarter)
template <int I0, int I1, int I2, int I3>
FW_INLINE Vec shuffle_within(Vec a, Vec b) {
  return __builtin_shufflevector(a, b, FW_QUARTERS(FW_PICKS));
}
#undef FW_PICKS
#undef FW_PICK
#undef FW_QUARTERS

// Transposes the quarters of kLanes / 4 vectors: quarter j of x[i] goes to quarter i of y[j].
#if defined(__AVX512F__)
#define FW_QUARTER(q) 4 * (q), 4 * (q) + 1, 4 * (q) + 2, 4 * (q) + 3
#define FW_SHUFFLE(a, b, q0, q1, q2, q3) \
  __builtin_shufflevector(a, b, FW_QUARTER(q0), FW_QUARTER(q1), FW_QUARTER(q2), FW_QUARTER(q3))
FW_INLINE void transpose_quarters(const Vec x[4], Vec y[4]) {
  const Vec even01 = FW_SHUFFLE(x[0], x[1], 0, 2, 4, 6), odd01 = FW_SHUFFLE(x[0], x[1], 1, 3, 5, 7);
  const Vec even23 = FW_SHUFFLE(x[2], x[3], 0, 2, 4, 6), odd23 = FW_SHUFFLE(x[2], x[3], 1, 3, 5, 7);
  y[0] = FW_SHUFFLE(even01, even23, 0, 2, 4, 6);
  y[1] = FW_SHUFFLE(odd01, odd23, 0, 2, 4, 6);
  y[2] = FW_SHUFFLE(even01, even23, 1, 3, 5, 7);
  y[3] = FW_SHUFFLE(odd01, odd23, 1, 3, 5, 7);
}
#undef FW_SHUFFLE
#undef FW_QUARTER
#elif defined(__AVX2__)
FW_INLINE void transpose_quarters(const Vec x[2], Vec y[2]) {
  y[0] = __builtin_shufflevector(x[0], x[1], 0, 1, 2, 3, 8, 9, 10, 11);
  y[1] = __builtin_shufflevector(x[0], x[1], 4, 5, 6, 7, 12, 13, 14, 15);
}
#else
FW_INLINE void transpose_quarters(const Vec x[1], Vec y[1]) { y[0] = x[0]; }
#endif

// Row i of x becomes lane i of every vector.
FW_INLINE void transpose(Vec (&x)[kLanes]) {
  constexpr int kQuarters = kLanes / 4;
  Vec t[4][kQuarters];
#pragma GCC unroll 4
  for (int q = 0; q < kQuarters; q++) {
    const Vec r0 = x[4 * q], r1 = x[4 * q + 1], r2 = x[4 * q + 2], r3 = x[4 * q + 3];
    const Vec low01 = shuffle_within<0, 4, 1, 5>(r0, r1), high01 = shuffle_within<2, 6, 3, 7>(r0, r1);
    const Vec low23 = shuffle_within<0, 4, 1, 5>(r2, r3), high23 = shuffle_within<2, 6, 3, 7>(r2, r3);
    t[0][q] = shuffle_within<0, 1, 4, 5>(low01, low23);
    t[1][q] = shuffle_within<2, 3, 6, 7>(low01, low23);
    t[2][q] = shuffle_within<0, 1, 4, 5>(high01, high23);
    t[3][q] = shuffle_within<2, 3, 6, 7>(high01, high23);
  }
#pragma GCC unroll 4
  for (int c = 0; c < 4; c++) {
    Vec y[kQuarters];
    transpose_quarters(t[c], y);
#pragma GCC unroll 4
    for (int q = 0; q < kQuarters; q++) x[4 * q + c] = y[q];
  }
}

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
