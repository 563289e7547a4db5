// One kernel table per instruction set.
#include "instruction_sets.h"

namespace fw {

#if defined(FW_ONLY_ISA)
namespace FW_ONLY_ISA { extern const KernelTable table; }
#define FW_QUOTED(name) #name
#define FW_NAME(macro) FW_QUOTED(macro)

const std::vector<InstructionSet>& instruction_sets() {
  static const std::vector<InstructionSet> sets{{FW_NAME(FW_ONLY_ISA), true, &FW_ONLY_ISA::table}};
  return sets;
}
#elif defined(__x86_64__)
namespace portable { extern const KernelTable table; }
namespace avx2 { extern const KernelTable table; }
namespace avx512 { extern const KernelTable table; }

const std::vector<InstructionSet>& instruction_sets() {
  static const std::vector<InstructionSet> sets = [] {
    __builtin_cpu_init();
    const bool has_avx2 =
        __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
    const bool has_avx512 = has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                            __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
    return std::vector<InstructionSet>{
        {"portable", true, &portable::table}, {"avx2", has_avx2, &avx2::table}, {"avx512", has_avx512, &avx512::table}};
  }();
  return sets;
}
#elif defined(__aarch64__)
namespace neon { extern const KernelTable table; }

const std::vector<InstructionSet>& instruction_sets() {
  static const std::vector<InstructionSet> sets{{"neon", true, &neon::table}};
  return sets;
}
#else
namespace portable { extern const KernelTable table; }

const std::vector<InstructionSet>& instruction_sets() {
  static const std::vector<InstructionSet> sets{{"portable", true, &portable::table}};
  return sets;
}
#endif

}  // namespace fw
