// The device layer of compute capability 9.0: barriers in shared memory that some threads arrive at and others
// wait for, and copies that a single thread starts. As in tile.cuh, of which this is a part, PTX stands only here.
//
// Phases of an mbarrier are counted from 0. One ends when as many threads have arrived as there are to, and as many bytes
// have come as were announced; what comes before an arrival is known to those who have waited for the phase. Until then
// what a copy writes must not be touched. Copies and threads see memory by different ways: a thread's writes are known to
// copies after its fenceProxyAsync, the initialisation of an mbarrier too.
#pragma once
#include "tile.cuh"

#ifdef __CUDACC__
// Machine code for other architectures has kernels in it that are not started there.
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#define FW_HOPPER(...) asm volatile(__VA_ARGS__)
#else
#define FW_HOPPER(...) __trap(), __builtin_unreachable()
#endif

namespace fw::cuda {

FW_DEVICE uint32_t sharedAddress(const void* data) { return static_cast<uint32_t>(__cvta_generic_to_shared(data)); }

// By one thread; the others must know of it before they use it.
FW_DEVICE void mbarrierInit(uint64_t* barrier, int arrivals) {
  FW_HOPPER("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(sharedAddress(barrier)), "r"(arrivals) : "memory");
}
FW_DEVICE void mbarrierArrive(uint64_t* barrier) {
  FW_HOPPER("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(sharedAddress(barrier)) : "memory");
}
// Arrives, and announces so many bytes of copies for this phase.
FW_DEVICE void mbarrierExpect(uint64_t* barrier, int bytes) {
  FW_HOPPER("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(sharedAddress(barrier)), "r"(bytes)
               : "memory");
}
// Until the phase has ended; that before phase 0 always has. The one after it must not have.
FW_DEVICE void mbarrierWait(uint64_t* barrier, int phase) {
  uint32_t ended = 0;
  while (ended == 0) {
    FW_HOPPER("{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
                 : "=r"(ended)
                 : "r"(sharedAddress(barrier)), "r"(phase & 1)
                 : "memory");
  }
}

FW_DEVICE void fenceProxyAsync() { FW_HOPPER("fence.proxy.async.shared::cta;" ::: "memory"); }

// Copies from global to shared memory, all of it a multiple of 16 bytes; they count for the phase of the barrier.
FW_DEVICE void copyBulk(void* to, const void* from, int bytes, uint64_t* barrier) {
  FW_HOPPER("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                   sharedAddress(to)),
               "l"(from), "r"(bytes), "r"(sharedAddress(barrier))
               : "memory");
}

}  // namespace fw::cuda
#else
#include <emulation/bulk.h>
#endif
