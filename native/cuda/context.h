// What functions of the kernel table run with, and failed calls of the CUDA runtime as exceptions: all that host code
// knows of kernels.
#pragma once
#include <cuda_runtime_api.h>

#include <stdexcept>
#include <string>

#include "../kernels.h"

namespace fw::cuda {

struct Cublas;

// In the card's memory: what a call has found of an index outside its table.
struct IndexFault {
  int64_t found, position, value, limit;
};

// What a function of the kernel table gets to run with.
struct Context {
  cudaStream_t stream;
  // For products of a training step, where it is in use.
  const Cublas* cublas = nullptr;
  // Where a call that follows indices says which one it could not follow.
  IndexFault* fault = nullptr;
  // Device memory, aligned to 256 bytes and uninitialised, for the kernels that the present call starts.
  void* (*scratch)(const Context&, int64_t bytes) = nullptr;
  // Bytes of it that a call asks for at most where it can do with less, in several rounds.
  int64_t most_scratch = int64_t(1) << 30;
  // Bytes of shared memory that the card has for a block, and its multiprocessors.
  int64_t most_shared = 0, multiprocessors = 0;
  // Whether the card has what warpgroup.cuh is for, and whether products of matrices may use it: in training, for their bits
  // may not be those beside fewer rows.
  bool has_warpgroups = false, warpgroups = false;
  // Waits for the stream and gives memory that is only kept for reuse back to the card, whose runtime may need some.
  void (*trim)(const Context&) = nullptr;

  template <class T>
  T* scratch_of(int64_t count) const {
    return static_cast<T*>(scratch(*this, count * static_cast<int64_t>(sizeof(T))));
  }
};

using KernelTable = Kernels<Context>;

// A failed call of the runtime.
class CudaError : public std::runtime_error {
 public:
  CudaError(const char* what, cudaError_t code)
      : std::runtime_error(std::string(what) + ": " + cudaGetErrorString(code)), code(code) {}
  cudaError_t code;
};

// What a kernel of the card does not do, though other devices may.
class Unsupported : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A number of an operation or a dtype that `where` has nothing for. A device's own switches end in a trap, which would
// end the card's context: what a call asks for is compared before its launch.
[[noreturn]] inline void unknown(const char* where, const char* what, int64_t number) {
  throw Unsupported(std::string(where) + " on a card: there is no " + what + " " + std::to_string(number));
}
inline void require_known(const char* where, const char* what, int64_t number, int64_t count) {
  if (number < 0 || number >= count) unknown(where, what, number);
}

// Both int32, or neither.
inline void require_alike(const char* where, DType a, DType b) {
  if ((a == kInt32) != (b == kInt32)) unknown(where, "way from dtype", a);
}

inline void check(const char* what, cudaError_t code) {
  if (code == cudaSuccess) return;
  cudaGetLastError();  // it is told here, and no later call is to blame
  throw CudaError(what, code);
}

// Before the first launch, so that none of them has to find room for its code.
void load_kernels();

}  // namespace fw::cuda
