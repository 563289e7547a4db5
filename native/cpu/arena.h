// Pieces of scratch memory, and rows of any width as zero-padded vectors.
#pragma once
#include "vec.h"

#if defined(__SANITIZE_ADDRESS__)
extern "C" void __asan_poison_memory_region(const volatile void*, unsigned long);
#endif

FW_NAMESPACE_BEGIN

FW_INLINE int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }
FW_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// The vector at elements i ... of a row of n; zeros beyond its end.
FW_INLINE Vec load_row(const float* row, int64_t i, int64_t n) {
  return i + kLanes <= n ? load(row + i) : load_part(row + i, n - i);
}
FW_INLINE void store_row(float* row, int64_t i, int64_t n, Vec x) {
  if (i + kLanes <= n) return store(row + i, x);
  store_part(row + i, x, n - i);
}
// y[padded] = factor * x[n], then zeros; `padded` is a whole number of vectors.
FW_INLINE void stage_row(float* y, const float* x, int64_t n, int64_t padded, float factor = 1) {
  for (int64_t i = 0; i < padded; i += kLanes) store(y + i, load_row(x, i, n) * splat(factor));
}
FW_INLINE void zero_row(float* y, int64_t padded) {
  for (int64_t i = 0; i < padded; i += kLanes) store(y + i, Vec{});
}

// Hands out pieces of scratch memory, each aligned to a vector. Over no memory it only counts. With AddressSanitizer a
// cache line behind each piece of a guarded one must not be touched.
struct Arena {
  uintptr_t base;
  bool guarded;
  int64_t used = 0;
  explicit Arena(void* memory, bool guarded = false) : base(reinterpret_cast<uintptr_t>(memory)), guarded(guarded) {}
  float* floats(int64_t n) {
    float* piece = reinterpret_cast<float*>(base + used);
    used += round_up(n * 4, 64);
#if defined(__SANITIZE_ADDRESS__)
    if (base && guarded) __asan_poison_memory_region(reinterpret_cast<void*>(base + used), 64);
    if (guarded) used += 64;
#endif
    return piece;
  }
};

FW_NAMESPACE_END
