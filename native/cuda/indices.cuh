// Indices that kernels follow, compared with the length of the table on the card.
#pragma once
#include "tile.cuh"

namespace fw::cuda {

// Before the kernel that follows them: writes the first of `count` indices that is outside [0, limit) into the fault of
// the call. `ignored` is let through where `ignores`.
void check_indices(const Context& cx, const In& indices, int64_t count, int64_t limit, int64_t ignored = 0,
                   bool ignores = false);

// What the kernel itself asks: it must not follow the others.
FW_DEVICE bool inside(int64_t index, int64_t limit) { return index >= 0 && index < limit; }

}  // namespace fw::cuda
