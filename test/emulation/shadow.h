// Who last used each two bytes of shared and of global memory, and the races that follow. A byte is compared with others
// of its place, and with wider accesses where it is the first of its two. No clocks of threads are
// needed: with barriers of whole blocks and warpSync of whole warps alone, an access comes before another if it is the
// same thread's, or lies before the block's last barrier, or is the same warp's and lies before its last warpSync.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "block.h"

namespace emulation {

// When and by whom: the epoch, which counts blocks and their barriers on and on; how many warpSyncs the warp has had in
// it; whether there were several; the thread, or one of them.
using Stamp = uint64_t;
enum Several : uint64_t { kOneThread, kLanes_, kWarps, kBlocks };

// Where: see places.h.
using PlaceId = uint32_t;

struct Cell {
  Stamp write, read;
  PlaceId writer, reader;
};

// Before any of these.
void prepare_shadow();
// Checks and remembers an access by the running thread; offsets are those of block.h and memory.h.
void track_shared(size_t offset, size_t bytes, bool write, PlaceId place);
void track_global(size_t offset, size_t bytes, bool write, PlaceId place);
// A read of shared memory by all lanes of the running warp, since loadMatrix hands each row to all.
void track_by_warp(size_t offset, size_t bytes, PlaceId place);
// Shared memory that the running thread's copy will write: from now on any access is an error.
void begin_copy(size_t to, PlaceId place);
// From now on it counts as written by the running thread.
void end_copy(size_t to, PlaceId place);

}  // namespace emulation
