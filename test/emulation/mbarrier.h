// The mbarriers of the running block, and the bulk copies that complete on them.
#pragma once

namespace emulation {

// At the beginning of a block; at its end, when every copy must have been waited for; after a barrier of it.
void forget_mbarriers();
void end_mbarriers();
void forget_arrivals();

}  // namespace emulation
