// The kernel table of one instruction set.
#include "isa.h"

FW_NAMESPACE_BEGIN
#define FW_ENTRY(kernel) kernel,
extern const KernelTable table;
const KernelTable table = {FW_KERNELS(FW_ENTRY)};
#undef FW_ENTRY
FW_NAMESPACE_END
