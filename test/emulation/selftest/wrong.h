// Kernels with one mistake each, which the emulation must find.
#pragma once
#include <cuda_runtime_api.h>

#include <vector>

namespace wrong {

struct Kernel {
  const char* name;
  // x and y have 256 floats each.
  void (*start)(cudaStream_t stream, float* x, float* y);
  const char* kind;
  const char* marks[2];  // comments in the source, on lines that the finding must name
  const char* source;
};
extern const std::vector<Kernel> kKernels, kKernelsOfGroups;

}  // namespace wrong
