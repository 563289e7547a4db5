# How sources of kernels are compiled for the emulated device. They tell the hooks in hooks.cc of each access to memory
# (ThreadSanitizer's own library is not linked), loops stay loops rather than calls of memset and memcpy, which tell
# nothing, and no access is moved to where the source has none.
set(emulation_kernel_options
  -x c++ -ffp-contract=off -fno-tree-loop-distribute-patterns -fno-hoist-adjacent-loads)
if(NOT FAST_WEIGHTS_SANITIZE)
  list(APPEND emulation_kernel_options -fsanitize=thread --param=tsan-instrument-func-entry-exit=0)
endif()
