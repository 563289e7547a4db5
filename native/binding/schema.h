// The kernel table as JavaScript sees it: names and kinds of fields to compare with lib/backends/table.ts, and one
// launcher per kernel. Both follow from the field lists of kernels.h.
#pragma once
#include <napi.h>

#include "arguments.h"
#include "environment.h"

namespace fw {

struct Kernel {
  const char* name;
  // Decodes the command and runs or queues it.
  void (*launch)(Environment&, const double* command, int64_t doubles);
};

// In the order of FW_KERNELS.
extern const Kernel kKernels[];
extern const int kKernelCount;

// [[name, [[field, kind], ...]], ...]
Napi::Array describe_kernels(Napi::Env env);

}  // namespace fw
