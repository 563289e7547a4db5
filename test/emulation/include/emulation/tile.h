// The device layer of native/cuda/tile.cuh on the emulated device. Each primitive knows where it was called from:
// places where threads wait for each other or for a copy are the sites of control.h.
#pragma once
#include <stdint.h>

namespace emulation {
void copy_wait(int pending, int line, const char* file);
}

// The caller's place.
#define FW_LINE int line = __builtin_LINE()
#define FW_FILE const char* file = __builtin_FILE()

namespace fw::cuda {

// The same for the whole of a thread's run.
int thread() noexcept __attribute__((const));
int64_t block() noexcept __attribute__((const));
int64_t blocks() noexcept __attribute__((const));

[[noreturn]] void trap(FW_LINE, FW_FILE);
void barrier(FW_LINE, FW_FILE);
void warpSync(FW_LINE, FW_FILE);
float shuffle(float x, int from, FW_LINE, FW_FILE);
float shuffleXor(float x, int mask, FW_LINE, FW_FILE);
void loadMatrix(uint32_t (&r)[4], const void* row, FW_LINE, FW_FILE);
void loadMatrixT(uint32_t (&r)[4], const void* row, FW_LINE, FW_FILE);
void mmaBfloat16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], FW_LINE, FW_FILE);
void mmaTf32(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], FW_LINE, FW_FILE);

inline int again(int x) { return x; }

inline uint32_t toBits(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  return bits;
}
inline float fromBits(uint32_t bits) {
  float x;
  __builtin_memcpy(&x, &bits, sizeof x);
  return x;
}
inline uint32_t toTf32(float x) {
  const uint32_t bits = toBits(x);
  const bool finite = (bits & 0x7f800000u) != 0x7f800000u;
  return finite ? (bits + 0x1000u) & 0xffffe000u : bits;
}
inline float fromBfloat16(uint16_t x) { return fromBits(uint32_t{x} << 16); }
inline uint16_t toBfloat16(float x) {
  const uint32_t bits = toBits(x);
  if (x != x) return 0x7fff;
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}
inline uint32_t toBfloat16Pair(float x, float y) { return toBfloat16(x) | uint32_t{toBfloat16(y)} << 16; }

void copyAsync16(void* to, const void* from, bool valid = true, FW_LINE, FW_FILE);
void copyAsync4(void* to, const void* from, FW_LINE, FW_FILE);
void copyCommit(FW_LINE, FW_FILE);
template <int n>
inline void copyWait(FW_LINE, FW_FILE) {
  emulation::copy_wait(n, line, file);
}

}  // namespace fw::cuda

#undef FW_LINE
#undef FW_FILE
