// Kernels with one mistake each, which the emulation must find.
#pragma once
#include <cuda_runtime_api.h>

namespace wrong {

struct Kernel {
  const char* name;
  // x and y have 256 floats each.
  void (*start)(cudaStream_t stream, float* x, float* y);
  const char* kind;
  const char* marks[2];  // comments in the source, on lines that the finding must name
};
extern const Kernel kKernels[];
extern const int kCount;

extern const char* const kSource;

}  // namespace wrong
