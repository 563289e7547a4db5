# How sources of kernels are compiled for the emulated device. They tell the hooks in hooks.cc of each access to memory
# (ThreadSanitizer's own library is not linked), loops stay loops rather than calls of memset and memcpy, which tell
# nothing, and no access is moved to where the source has none.
#
# With FAST_WEIGHTS_CONTRACT products and sums become one rounded operation wherever the compiler can make them one, as
# nvcc does: results that must not depend on it are tested there. Accesses go unwatched, which makes it several times
# faster.
option(FAST_WEIGHTS_CONTRACT "Contract products and sums of emulated kernels instead of watching accesses" OFF)
set(loops_stay_loops -x c++ -fno-tree-loop-distribute-patterns -fno-hoist-adjacent-loads)
set(emulation_contracted_options ${loops_stay_loops} -ffp-contract=fast)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
  list(APPEND emulation_contracted_options -mfma)
endif()
if(FAST_WEIGHTS_CONTRACT)
  set(emulation_kernel_options ${emulation_contracted_options})
else()
  set(emulation_kernel_options ${loops_stay_loops} -ffp-contract=off)
  if(NOT FAST_WEIGHTS_SANITIZE)
    list(APPEND emulation_kernel_options -fsanitize=thread --param=tsan-instrument-func-entry-exit=0)
  endif()
endif()
