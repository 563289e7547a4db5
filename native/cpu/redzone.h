// In builds with AddressSanitizer: memory of the allocator and of the pool can be touched only where it was asked for and
// only while it is held, to the byte, though blocks are a little larger and are kept for later. Elsewhere nothing.
#pragma once
#include <cstdint>
#include <cstring>

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define FW_RED_ZONES
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define FW_RED_ZONES
#endif
#ifdef FW_RED_ZONES
#include <sanitizer/asan_interface.h>
#endif

namespace fw {

// All ones is NaN in every floating-point format, and an impossible index.
inline void fill_with_nan(void* data, int64_t bytes) {
  if (bytes > 0) std::memset(data, 0xff, bytes);
}

#ifdef FW_RED_ZONES
constexpr bool kRedZones = true;

// Of `capacity` bytes the first `bytes` may be used.
inline void open_zone(void* data, int64_t bytes, int64_t capacity) {
  ASAN_UNPOISON_MEMORY_REGION(data, bytes);
  ASAN_POISON_MEMORY_REGION(static_cast<char*>(data) + bytes, capacity - bytes);
}
inline void close_zone(void* data, int64_t capacity) { ASAN_POISON_MEMORY_REGION(data, capacity); }
#else
constexpr bool kRedZones = false;

inline void open_zone(void*, int64_t, int64_t) {}
inline void close_zone(void*, int64_t) {}
#endif

}  // namespace fw
