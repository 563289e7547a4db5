// native/cuda/warpgroup.cuh on the emulated device; see tile.h.
#pragma once
#include <stdint.h>

namespace emulation {
void warpgroup_multiply(float* c, int columns, uint64_t a, bool a_along_lines, uint64_t b, bool b_along_lines, int line,
                        const char* file);
void warpgroup_multiply(float* c, int columns, const uint32_t* a, uint64_t b, bool b_along_lines, int line,
                        const char* file);
void warpgroup_wait(int pending, int line, const char* file);
}  // namespace emulation

#define FW_LINE int line = __builtin_LINE()
#define FW_FILE const char* file = __builtin_FILE()

namespace fw::cuda {

uint64_t matrixDescriptor(const void* data, int leading, int stride);
void warpgroupFence(FW_LINE, FW_FILE);
template <bool aAlongLines, bool bAlongLines, int n>
inline void warpgroupMultiply(float (&c)[n][4], uint64_t a, uint64_t b, FW_LINE, FW_FILE) {
  emulation::warpgroup_multiply(c[0], 8 * n, a, aAlongLines, b, bAlongLines, line, file);
}
template <bool bAlongLines, int n>
inline void warpgroupMultiply(float (&c)[n][4], const uint32_t (&a)[4], uint64_t b, FW_LINE, FW_FILE) {
  emulation::warpgroup_multiply(c[0], 8 * n, a, b, bAlongLines, line, file);
}
void warpgroupCommit(FW_LINE, FW_FILE);
template <int n>
inline void warpgroupHold(float (&)[n][4]) {}
template <int n>
inline void warpgroupWait(FW_LINE, FW_FILE) {
  emulation::warpgroup_wait(n, line, file);
}

}  // namespace fw::cuda

#undef FW_LINE
#undef FW_FILE
