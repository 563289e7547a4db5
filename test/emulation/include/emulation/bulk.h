// native/cuda/bulk.cuh on the emulated device; see tile.h.
#pragma once
#include <stdint.h>

namespace fw::cuda {

void mbarrierInit(uint64_t* barrier, int arrivals, int line = __builtin_LINE(), const char* file = __builtin_FILE());
void mbarrierArrive(uint64_t* barrier, int line = __builtin_LINE(), const char* file = __builtin_FILE());
void mbarrierExpect(uint64_t* barrier, int bytes, int line = __builtin_LINE(), const char* file = __builtin_FILE());
void mbarrierWait(uint64_t* barrier, int phase, int line = __builtin_LINE(), const char* file = __builtin_FILE());
void fenceProxyAsync(int line = __builtin_LINE(), const char* file = __builtin_FILE());
void copyBulk(void* to, const void* from, int bytes, uint64_t* barrier, int line = __builtin_LINE(),
              const char* file = __builtin_FILE());

}  // namespace fw::cuda
