// What native/cuda/device.h needs to start kernels on the emulated device.
#pragma once
#include <cuda_runtime_api.h>
#include <stdint.h>

#include <emulation/intrinsics.h>
#include <memory>
#include <type_traits>
#include <typeinfo>

#define FW_DEVICE inline
#define FW_UNROLL
#define FW_ROLLED

namespace emulation {

struct Launch {
  const char* kernel;  // a name that contains the kernel's
  const char* type;    // its type's mangled name, and the file that is compiled
  const char* source;
  const void* function;
  int64_t blocks;
  int threads;
  int64_t bytes;
  std::shared_ptr<const void> args;
  size_t args_bytes;
  void (*run)(const void* args, void* shared);
};

// Puts it into the queue of a stream. What goes wrong when it runs is told by later calls, as on a real device.
cudaError_t enqueue(cudaStream_t stream, Launch launch);

template <class Kernel>
const char* name_of() {
  return __PRETTY_FUNCTION__;
}

template <class Kernel>
void call(const void* args, void* shared) {
  Kernel::run(*static_cast<const typename Kernel::Args*>(args), *static_cast<typename Kernel::Shared*>(shared));
}
// What names a kernel to the runtime.
template <class Kernel>
const void* function_of() {
  return reinterpret_cast<const void*>(&call<Kernel>);
}

template <class Kernel>
[[nodiscard]] cudaError_t launch(cudaStream_t stream, int64_t blocks, int threads, int64_t bytes,
                                 const typename Kernel::Args& args) {
  using Args = typename Kernel::Args;
  static_assert(std::is_trivially_copyable<Args>::value, "arguments are copied bytewise");
  static_assert(sizeof(Args) <= 4096, "arguments of a kernel take at most 4 KB");
  return enqueue(stream, {name_of<Kernel>(), typeid(Kernel).name(), __BASE_FILE__, function_of<Kernel>(), blocks,
                          threads, bytes, std::make_shared<const Args>(args), sizeof(Args), call<Kernel>});
}

}  // namespace emulation
