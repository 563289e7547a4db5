// How a kernel of the GPU is written and started. Sources are compiled by nvcc, and by g++ against an emulation of the
// device (test/emulation) in which every thread is a fibre; nothing but this file and tile.cuh knows of the difference.
//
//   struct Add {
//     static constexpr int kThreads = 256;              // per block, a multiple of 32
//     struct Args { const float* x; float* y; int64_t n; };
//     struct Shared {};                                 // or any plain struct
//     static FW_DEVICE void run(const Args& args, Shared& shared);
//   };
//   launch<Add>(cx, blocks, {x, y, n});
//
// Not used: <<<>>>, static __shared__ variables, __constant__, float atomics, memcpy in device code, work that waits for
// another block.
#pragma once
#include "context.h"

#ifdef __CUDACC__
#include <cuda_runtime.h>
#define FW_DEVICE __device__ __forceinline__
#define FW_HOST_DEVICE __host__ __device__ __forceinline__
#define FW_UNROLL _Pragma("unroll")
#define FW_ROLLED _Pragma("unroll 1")
#else
#include <emulation/device.h>
#define FW_HOST_DEVICE inline
#endif

namespace fw::cuda {

constexpr int kWarp = 32;

#ifdef __CUDACC__
// A launch that may not use more shared memory than this need not ask for it.
constexpr int64_t kPlainSharedBytes = 48 << 10;

// Threads and shared memory stand in the name, for native/cuda/resources.json. One block per multiprocessor is enough for
// the compiler: left to itself it would spill registers to fit more of them than shared memory lets in.
template <class Kernel, int threads = Kernel::kThreads, size_t shared = sizeof(typename Kernel::Shared)>
__global__ void __launch_bounds__(threads, 1) entry(const __grid_constant__ typename Kernel::Args args) {
  extern __shared__ __align__(128) unsigned char memory[];
  Kernel::run(args, *reinterpret_cast<typename Kernel::Shared*>(memory));
}
#endif

// Starts `blocks` blocks on the stream of the context; `bytes` of shared memory where Shared only begins it.
template <class Kernel>
void launch(const Context& cx, int64_t blocks, const typename Kernel::Args& args,
            int64_t bytes = sizeof(typename Kernel::Shared)) {
  static_assert(Kernel::kThreads % kWarp == 0 && Kernel::kThreads <= 1024, "whole warps");
  if (blocks <= 0) return;
  if (blocks > INT32_MAX) throw std::length_error("a kernel of more than 2^31 - 1 blocks");
#ifdef __CUDACC__
  if (bytes > kPlainSharedBytes) {
    check("shared memory", cudaFuncSetAttribute(entry<Kernel>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                static_cast<int>(bytes)));
  }
  entry<Kernel><<<static_cast<unsigned>(blocks), Kernel::kThreads, static_cast<size_t>(bytes), cx.stream>>>(args);
  check("launch", cudaGetLastError());
#else
  check("launch", emulation::launch<Kernel>(cx.stream, blocks, Kernel::kThreads, bytes, args));
#endif
}

// Declared here, defined in the source of its family, gathered in table.cu.
#define FW_DECLARE(kernel) void kernel(const Context&, const kernel##Args&);
FW_KERNELS(FW_DECLARE)
#undef FW_DECLARE

}  // namespace fw::cuda
