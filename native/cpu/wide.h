// Lanes in double precision: a vector of floats is two vectors of doubles. For what must be exact beyond a float, the
// remainder of an angle and the logarithm in a power.
#pragma once
#include "vec.h"

FW_NAMESPACE_BEGIN

typedef double Half __attribute__((vector_size(kLanes * 4)));
typedef int64_t HalfInt __attribute__((vector_size(kLanes * 4)));
typedef uint64_t HalfBits __attribute__((vector_size(kLanes * 4)));
typedef EachLane<kLanes / 2>::type HalfLanes;

// Converted all at once, which gcc 12 does with one instruction a half.
typedef double Doubles __attribute__((vector_size(kLanes * 8)));

template <int From, int... I>
FW_INLINE Half widened(Vec x, Lanes<I...>) {
  const Doubles y = __builtin_convertvector(x, Doubles);
  return __builtin_shufflevector(y, y, (From + I)...);
}
template <int... I>
FW_INLINE Vec narrowed(Half low, Half high, Lanes<I...>) {
  return __builtin_convertvector(__builtin_shufflevector(low, high, I...), Vec);
}
// f in double of every lane of the operands, rounded.
template <class F, class... V>
FW_INLINE Vec widely(const F& f, V... x) {
  return narrowed(f(widened<0>(x, HalfLanes())...), f(widened<kLanes / 2>(x, HalfLanes())...), AllLanes());
}
FW_INLINE Half wide(double x) { return x - Half{}; }

FW_NAMESPACE_END
