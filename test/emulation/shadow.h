// Who last used each two bytes of shared and of global memory, and the races that follow. A byte is compared with others
// of its place, and with wider accesses where it is the first of its two. An access comes before another if it is the
// same thread's, or lies before the block's last barrier, or is known to whoever makes the other (clocks.h).
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "block.h"

namespace emulation {

// When and by whom: the epoch, which counts blocks and their barriers on and on; the count of the party in it; whether
// there were several; the party of clocks.h, or one of them. Of several warps there may be a list.
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
// A read of shared memory by all lanes of a warp, since loadMatrix hands each row to all.
void track_by_warp(size_t offset, size_t bytes, PlaceId place, int warp);
// Shared memory that the running thread's copy will write: from now on any access is an error.
void begin_copy(size_t to, size_t bytes, PlaceId place);
// From now on it counts as written by the running thread, or by a party of clocks.h at a count of its own.
void end_copy(size_t to, size_t bytes, PlaceId place);
void end_copy(size_t to, size_t bytes, PlaceId place, int party, uint32_t count);
// Of one that nobody has waited for, when its block has ended: the memory is as if nobody had used it.
void cancel_copy(size_t to, size_t bytes);
// A use of shared memory by an asynchronous copy: threads that have written there must have fenced since.
void check_fenced(size_t offset, size_t bytes, PlaceId place);
// Lists of readers are of an epoch.
void forget_readers();

}  // namespace emulation
