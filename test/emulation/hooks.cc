// The functions that g++ -fsanitize=thread calls before each access to memory. ThreadSanitizer's own library, which
// would define them, is not linked.
#include <stdint.h>

#include "banks.h"
#include "block.h"
#include "findings.h"
#include "shadow.h"

namespace emulation {

namespace {
bool instrumented = false;

bool in_own_stack(const void* data) {
  return reinterpret_cast<uintptr_t>(data) - reinterpret_cast<uintptr_t>(block.stack) < block.stack_bytes;
}

[[noreturn]] void bad(const char* what, const void* place, size_t bytes, bool write) {
  const std::string text = std::string(write ? "write" : "read") + " of " + std::to_string(bytes) +
                           " bytes by thread " + std::to_string(block.current) + " of block " +
                           std::to_string(block.index) + " ($1) " + what;
  fail(cudaErrorIllegalAddress, "bounds", text, id_of(place));
}

void by_host(const void* place) {
  const PlaceId id = id_of(place);
  if (!count_known("bounds", id, 0)) add_fact("bounds", "an access to the device's memory by the host ($1)", id);
}

// Memory that is neither shared nor the device's.
void elsewhere(const void* data, size_t bytes, bool write, const void* place) {
  if (!in_own_stack(__builtin_frame_address(0))) return;  // code of the host
  if (is_in_module(data)) {
    if (write) bad("at a static variable", place, bytes, write);
    return;
  }
  bad("at an address that is not the device's", place, bytes, write);
}

// An access that is not to the thread's own memory.
void check(const void* data, size_t bytes, bool write, bool aligned, const void* place) {
  const size_t shared = offset_in_shared(data), global = block.memory.offset(data);
  const bool is_aligned = !aligned || (reinterpret_cast<uintptr_t>(data) & (bytes - 1)) == 0;
  if (shared < block.shared_bytes) {
    if (bytes > block.shared_bytes - shared) bad("across the end of shared memory", place, bytes, write);
    if (!is_aligned) bad("that is not aligned", place, bytes, write);
    if (count_banks) log_access(shared, bytes, id_of(place));
    track_shared(shared, bytes, write, id_of(place));
  } else if (global < block.memory.bytes) {
    if (!in_own_stack(__builtin_frame_address(0))) return by_host(place);
    if (!block.memory.allows(data, bytes)) bad("at bytes of the device that are not in use", place, bytes, write);
    if (!is_aligned) bad("that is not aligned", place, bytes, write);
    track_global(global, bytes, write, id_of(place));
  } else {
    elsewhere(data, bytes, write, place);
  }
}

inline void access(const void* data, size_t bytes, bool write, bool aligned, const void* place) {
  const auto argument = static_cast<size_t>(static_cast<const unsigned char*>(data) - block.args);
  if (in_own_stack(data) || (!write && argument < block.args_bytes)) return;
  check(data, bytes, write, aligned, place);
}
}  // namespace

bool sees_accesses() { return instrumented; }

}  // namespace emulation

#ifndef __SANITIZE_ADDRESS__
using emulation::access;

#define FW_HERE __builtin_return_address(0)
#define FW_HOOKS(n)                                                                       \
  void __tsan_read##n(void* data) { access(data, n, false, true, FW_HERE); }              \
  void __tsan_write##n(void* data) { access(data, n, true, true, FW_HERE); }              \
  void __tsan_unaligned_read##n(void* data) { access(data, n, false, false, FW_HERE); }   \
  void __tsan_unaligned_write##n(void* data) { access(data, n, true, false, FW_HERE); }

// Atomics are the host's; device code has none.
#define FW_ATOMICS(bits, T)                                                                                          \
  T __tsan_atomic##bits##_load(const volatile T* a, int) { return __atomic_load_n(a, __ATOMIC_SEQ_CST); }            \
  void __tsan_atomic##bits##_store(volatile T* a, T x, int) { __atomic_store_n(a, x, __ATOMIC_SEQ_CST); }            \
  T __tsan_atomic##bits##_exchange(volatile T* a, T x, int) { return __atomic_exchange_n(a, x, __ATOMIC_SEQ_CST); }  \
  T __tsan_atomic##bits##_fetch_add(volatile T* a, T x, int) { return __atomic_fetch_add(a, x, __ATOMIC_SEQ_CST); }  \
  T __tsan_atomic##bits##_fetch_sub(volatile T* a, T x, int) { return __atomic_fetch_sub(a, x, __ATOMIC_SEQ_CST); }  \
  T __tsan_atomic##bits##_fetch_and(volatile T* a, T x, int) { return __atomic_fetch_and(a, x, __ATOMIC_SEQ_CST); }  \
  T __tsan_atomic##bits##_fetch_or(volatile T* a, T x, int) { return __atomic_fetch_or(a, x, __ATOMIC_SEQ_CST); }    \
  int __tsan_atomic##bits##_compare_exchange_strong(volatile T* a, T* expected, T x, int, int) {                     \
    return __atomic_compare_exchange_n(a, expected, x, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                   \
  }                                                                                                                  \
  int __tsan_atomic##bits##_compare_exchange_weak(volatile T* a, T* expected, T x, int, int) {                       \
    return __atomic_compare_exchange_n(a, expected, x, true, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                    \
  }

extern "C" {
FW_HOOKS(1)
FW_HOOKS(2)
FW_HOOKS(4)
FW_HOOKS(8)
FW_HOOKS(16)
void __tsan_read_range(void* data, size_t bytes) { access(data, bytes, false, false, FW_HERE); }
void __tsan_write_range(void* data, size_t bytes) { access(data, bytes, true, false, FW_HERE); }
void __tsan_init() { emulation::instrumented = true; }
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
void __tsan_atomic_thread_fence(int) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
void __tsan_atomic_signal_fence(int) {}
FW_ATOMICS(8, uint8_t)
FW_ATOMICS(16, uint16_t)
FW_ATOMICS(32, uint32_t)
FW_ATOMICS(64, uint64_t)
}
#endif
