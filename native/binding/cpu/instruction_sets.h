// The instruction sets that the kernels were compiled for, and which of them this processor has.
#pragma once
#include <vector>

#include "../../kernels.h"

namespace fw {

struct InstructionSet {
  const char* name;
  bool supported;
  const KernelTable* table;
};

// From the plainest to the widest.
const std::vector<InstructionSet>& instruction_sets();

}  // namespace fw
