// The kernel table of the card.
#include "device.h"

namespace fw::cuda {

#define FW_ENTRY(kernel) kernel,
extern const KernelTable table;
const KernelTable table = {FW_KERNELS(FW_ENTRY)};
#undef FW_ENTRY

}  // namespace fw::cuda
