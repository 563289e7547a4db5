// The kernel table of the card.
#include "device.h"

namespace fw::cuda {

#define FW_ENTRY(kernel) kernel,
extern const KernelTable table;
const KernelTable table = {FW_KERNELS(FW_ENTRY)};
#undef FW_ENTRY

void load_kernels() {
  for (const KernelEntry* kernel = KernelEntry::first; kernel; kernel = kernel->next) {
    cudaFuncAttributes attributes{};
    check("load a kernel", cudaFuncGetAttributes(&attributes, kernel->function));
  }
}

}  // namespace fw::cuda
