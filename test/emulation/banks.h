// Bank conflicts. Lanes run one after another: the accesses of one instruction are those of the same code, the same
// time since the warp last met.
#pragma once
#include <stddef.h>

#include "places.h"

namespace emulation {

extern bool count_banks;
// An access to shared memory by the running thread.
void log_access(size_t offset, size_t bytes, PlaceId place);
// The lanes of a warp have met.
void settle_accesses(int warp);

}  // namespace emulation
