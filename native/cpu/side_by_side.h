// Vectors of things of which each has N numbers side by side: a vector for each of the numbers, and back.
#pragma once
#include "vec.h"

FW_NAMESPACE_BEGIN

// Number P of kLanes things, in those of the N vectors at `from` that begin with vector S; `found` has the lanes of others.
template <int N, int P, int S, int... I>
FW_INLINE Vec number_of(const float* from, Vec found, Lanes<I...> lanes) {
  const Vec next = load(from + S * kLanes);
  found = __builtin_shufflevector(found, next, ((N * I + P) / kLanes == S ? kLanes + (N * I + P) % kLanes : I)...);
  if constexpr (S + 1 < N) return number_of<N, P, S + 1>(from, found, lanes);
  return found;
}

// numbers[p][i] = from[i * N + p]
template <int N, int P = 0>
FW_INLINE void load_apart(const float* from, Vec (&numbers)[N]) {
  numbers[P] = number_of<N, P, 0>(from, Vec{}, AllLanes());
  if constexpr (P + 1 < N) load_apart<N, P + 1>(from, numbers);
}

// Vector M of N, with the lanes of the numbers from S on; `found` has those of others.
template <int N, int M, int S, int... I>
FW_INLINE Vec mixed_of(const Vec (&numbers)[N], Vec found, Lanes<I...> lanes) {
  found = __builtin_shufflevector(found, numbers[S],
                                  ((M * kLanes + I) % N == S ? kLanes + (M * kLanes + I) / N : I)...);
  if constexpr (S + 1 < N) return mixed_of<N, M, S + 1>(numbers, found, lanes);
  return found;
}

// to[i * N + p] = numbers[p][i]
template <int N, int M = 0>
FW_INLINE void store_together(float* to, const Vec (&numbers)[N]) {
  store(to + M * kLanes, mixed_of<N, M, 0>(numbers, Vec{}, AllLanes()));
  if constexpr (M + 1 < N) store_together<N, M + 1>(to, numbers);
}

FW_NAMESPACE_END
