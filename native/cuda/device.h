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
#include <type_traits>

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

// What a block of a kernel uses of shared memory at most: more than its Shared where a launch says how much it is.
template <class Kernel, class = void>
struct MostShared {
  static constexpr int64_t bytes = sizeof(typename Kernel::Shared);
};
template <class Kernel>
struct MostShared<Kernel, std::void_t<decltype(Kernel::most_shared())>> {
  static constexpr int64_t bytes = Kernel::most_shared();
};
// How many blocks a multiprocessor is to run at a time, for which the compiler limits registers: Kernel::kAtOnce, or 1.
template <class Kernel, class = void>
struct BlocksAtOnce {
  static constexpr int count = 1;
};
template <class Kernel>
struct BlocksAtOnce<Kernel, std::void_t<decltype(Kernel::kAtOnce)>> {
  static constexpr int count = Kernel::kAtOnce;
};
// What every card since Ampere has for a block, and what the largest have: see Context::most_shared.
constexpr int64_t kMostSharedBytes = 99 << 10, kLargeSharedBytes = 227 << 10;

// A launch that does not use more shared memory than this need not ask for it.
constexpr int64_t kPlainSharedBytes = 48 << 10;

#ifdef __CUDACC__
// Threads and shared memory stand in the name, for native/cuda/resources.json. One block per multiprocessor is enough for
// the compiler, unless the kernel says: left to itself it would spill registers to fit more of them than shared memory lets in.
template <class Kernel, int threads = Kernel::kThreads, size_t shared = MostShared<Kernel>::bytes>
__global__ void __launch_bounds__(threads, BlocksAtOnce<Kernel>::count) entry(const __grid_constant__ typename Kernel::Args args) {
  extern __shared__ __align__(1024) unsigned char memory[];
  Kernel::run(args, *reinterpret_cast<typename Kernel::Shared*>(memory));
}

template <class Kernel>
const void* function_of() {
  return reinterpret_cast<const void*>(&entry<Kernel>);
}
// What the call itself returns: cudaGetLastError would also tell what others have left behind.
template <class Kernel>
cudaError_t start(const Context& cx, int64_t blocks, const typename Kernel::Args& args, int64_t bytes) {
  void* arguments[] = {const_cast<typename Kernel::Args*>(&args)};
  return cudaLaunchKernel(function_of<Kernel>(), dim3(static_cast<unsigned>(blocks)), dim3(Kernel::kThreads), arguments,
                          static_cast<size_t>(bytes), cx.stream);
}
#else
template <class Kernel>
const void* function_of() {
  return emulation::function_of<Kernel>();
}
template <class Kernel>
cudaError_t start(const Context& cx, int64_t blocks, const typename Kernel::Args& args, int64_t bytes) {
  return emulation::launch<Kernel>(cx.stream, blocks, Kernel::kThreads, bytes, args);
}
#endif

// Every kernel that some source launches, in a list for load_kernels.
struct KernelEntry {
  explicit KernelEntry(const void* function) : function(function), next(first) { first = this; }
  const void* const function;
  const KernelEntry* const next;
  static inline const KernelEntry* first = nullptr;
};
template <class Kernel>
inline const KernelEntry kernel_entry{function_of<Kernel>()};

// Starts `blocks` blocks on the stream of the context; `bytes` of shared memory where Shared only begins it, at most what
// Kernel::most_shared() says. `allowed` is kLargeSharedBytes where the caller has asked what the card has.
template <class Kernel, int64_t allowed = kMostSharedBytes>
void launch(const Context& cx, int64_t blocks, const typename Kernel::Args& args,
            int64_t bytes = sizeof(typename Kernel::Shared)) {
  static_assert(Kernel::kThreads % kWarp == 0 && Kernel::kThreads <= 1024, "whole warps");
  static_assert(MostShared<Kernel>::bytes <= allowed, "more shared memory than some cards have");
  if (blocks <= 0) return;
  if (bytes > MostShared<Kernel>::bytes) throw std::length_error("a kernel uses more shared memory than it says");
  if (blocks > INT32_MAX) throw std::length_error("a kernel of more than 2^31 - 1 blocks");
  if (bytes > kPlainSharedBytes) {
    check("shared memory", cudaFuncSetAttribute(kernel_entry<Kernel>.function,
                                                cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)));
  }
  cudaError_t code = start<Kernel>(cx, blocks, args, bytes);
  // The stacks of a kernel's threads are found when it starts; a launch that finds no room for them has done nothing.
  if (code == cudaErrorMemoryAllocation && cx.trim) {
    cudaGetLastError();
    cx.trim(cx);
    code = start<Kernel>(cx, blocks, args, bytes);
  }
  check("launch", code);
}

// Declared here, defined in the source of its family, gathered in table.cu.
#define FW_DECLARE(kernel) void kernel(const Context&, const kernel##Args&);
FW_KERNELS(FW_DECLARE)
#undef FW_DECLARE

}  // namespace fw::cuda
