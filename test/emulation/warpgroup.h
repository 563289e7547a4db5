// Products of the warpgroups of the running block that are under way.
#pragma once

namespace emulation {

// At the beginning of a block, and when all its threads have returned: what was begun must have been waited for.
void forget_products();
void end_products();

}  // namespace emulation
