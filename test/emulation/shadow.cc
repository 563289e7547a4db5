#include "shadow.h"

#include "findings.h"
#include "memory.h"

namespace emulation {

namespace {
constexpr size_t kGranule = 2;
constexpr uint32_t kInFlight = ~0u;  // an epoch
constexpr int kEpochShift = 32, kWithinShift = 12, kSeveralShift = 10;
constexpr Stamp kThreadMask = (1 << kSeveralShift) - 1;

uint32_t epoch_of(Stamp stamp) { return static_cast<uint32_t>(stamp >> kEpochShift); }
uint32_t within_of(Stamp stamp) { return static_cast<uint32_t>(stamp) >> kWithinShift; }
uint64_t several_of(Stamp stamp) { return stamp >> kSeveralShift & 3; }
int thread_of(Stamp stamp) { return static_cast<int>(stamp & kThreadMask); }
int warp_of(Stamp stamp) { return thread_of(stamp) / kLanes; }
Stamp stamp_of(uint32_t epoch, uint32_t within, Several several, int thread) {
  return Stamp{epoch} << kEpochShift | Stamp{within} << kWithinShift | Stamp{several} << kSeveralShift |
         static_cast<Stamp>(thread);
}
Stamp stamp_now(Several several = kOneThread) {
  return stamp_of(block.epoch, block.running_warp().within, several, block.current);
}

// Of two bytes each, and of the second byte alone, where it is used alone.
Cell *cells_of_shared = nullptr, *cells_of_device = nullptr, *odd_of_shared = nullptr, *odd_of_device = nullptr;
Cell* cells_for(size_t bytes) { return reinterpret_cast<Cell*>(reserve(bytes / kGranule * sizeof(Cell))); }

// Whether an earlier access comes before one with the stamp `now`.
template <bool global>
bool comes_before(Stamp earlier, Stamp now) {
  const uint32_t epoch = epoch_of(earlier);
  if (global) {
    if (epoch < block.launch_epoch) return true;
    if (epoch < block.first_epoch || several_of(earlier) == kBlocks) return false;
  }
  if (epoch < epoch_of(now)) return true;
  if (epoch == kInFlight || several_of(earlier) >= kWarps || warp_of(earlier) != warp_of(now)) return false;
  if (within_of(earlier) < within_of(now)) return true;
  return several_of(earlier) == kOneThread && several_of(now) == kOneThread && thread_of(earlier) == thread_of(now);
}

// What is remembered of reads after one more.
template <bool global>
Stamp joined(Stamp earlier, Stamp now) {
  const uint32_t epoch = epoch_of(earlier);
  if (global && epoch >= block.launch_epoch && (epoch < block.first_epoch || several_of(earlier) == kBlocks)) {
    return stamp_of(epoch_of(now), within_of(now), kBlocks, thread_of(now));
  }
  if (epoch != epoch_of(now)) return now;
  if (several_of(earlier) >= kWarps) return earlier;
  const auto with = [&](Several several) { return stamp_of(epoch, within_of(now), several, thread_of(earlier)); };
  if (warp_of(earlier) != warp_of(now)) return with(kWarps);
  if (within_of(earlier) < within_of(now)) return now;
  return several_of(now) == kLanes_ || thread_of(earlier) != thread_of(now) ? with(kLanes_) : earlier;
}

void report(const char* memory, Stamp earlier, bool earlier_write, PlaceId earlier_place, bool write, PlaceId place) {
  const bool in_flight = epoch_of(earlier) == kInFlight;
  const bool blocks = !in_flight && epoch_of(earlier) < block.first_epoch;
  const char* kind = in_flight ? "copy" : blocks || several_of(earlier) == kBlocks ? "blocks" : "race";
  if (count_known(kind, earlier_place, place)) return;
  const std::string now = std::string(write ? "write" : "read") + " of " + memory + " memory by thread " +
                          std::to_string(block.current) + " of block " + std::to_string(block.index) + " ($2)";
  const std::string before = std::string(earlier_write ? "written" : "read") + " by thread " +
                             std::to_string(thread_of(earlier)) + (kind[0] == 'b' ? " of another block" : "") + " ($1)";
  if (in_flight) add_fact(kind, now + ", where a copy that is not waited for arrives ($1)", earlier_place, place);
  else if (kind[0] == 'b') add_fact(kind, now + ", " + before, earlier_place, place);
  else add_fact(kind, now + " without synchronisation, " + before, earlier_place, place);
}

template <bool global>
void track_one(Cell& cell, bool write, Stamp now, PlaceId place) {
  const char* memory = global ? "global" : "shared";
  if (!comes_before<global>(cell.write, now)) report(memory, cell.write, true, cell.writer, write, place);
  if (write) {
    if (!comes_before<global>(cell.read, now)) report(memory, cell.read, false, cell.reader, true, place);
    if (epoch_of(cell.write) != kInFlight) cell.write = now;
    cell.writer = place;
  } else {
    const Stamp read = joined<global>(cell.read, now);
    if (read != cell.read) cell.reader = place;
    cell.read = read;
  }
}

// Most cells were last used before the launch, or before the last barrier if they are shared: those stamps are below
// all that matter.
template <bool global>
void track_cells(Cell* cells, size_t offset, size_t bytes, bool write, Stamp now, PlaceId place) {
  const Stamp floor = Stamp{global ? block.launch_epoch : block.epoch} << kEpochShift;
  Cell* const end = cells + (offset + bytes + kGranule - 1) / kGranule;
  for (Cell* cell = cells + offset / kGranule; cell < end; cell++) {
    if (cell->write >= floor || cell->read >= floor) {
      track_one<global>(*cell, write, now, place);
    } else if (write) {
      cell->write = now;
      cell->writer = place;
    } else {
      cell->read = now;
      cell->reader = place;
    }
  }
}

constexpr size_t kCopied = 16;

// Threads may use neighbouring bytes.
Cell* cells(Cell* pairs, Cell* odd, size_t offset, size_t bytes) { return bytes == 1 && offset % 2 == 1 ? odd : pairs; }
}  // namespace

void track_shared(size_t offset, size_t bytes, bool write, PlaceId place) {
  track_cells<false>(cells(cells_of_shared, odd_of_shared, offset, bytes), offset, bytes, write, stamp_now(), place);
}
void track_global(size_t offset, size_t bytes, bool write, PlaceId place) {
  track_cells<true>(cells(cells_of_device, odd_of_device, offset, bytes), offset, bytes, write, stamp_now(), place);
}
void track_by_warp(size_t offset, size_t bytes, PlaceId place) {
  track_cells<false>(cells_of_shared, offset, bytes, false, stamp_now(kLanes_), place);
}

void begin_copy(size_t to, PlaceId place) {
  track_shared(to, kCopied, true, place);
  for (size_t i = 0; i < kCopied / kGranule; i++) {
    cells_of_shared[to / kGranule + i].write = stamp_of(kInFlight, 0, kOneThread, block.current);
  }
}
void end_copy(size_t to, PlaceId place) {
  for (size_t i = 0; i < kCopied / kGranule; i++) {
    cells_of_shared[to / kGranule + i].write = stamp_now();
    cells_of_shared[to / kGranule + i].writer = place;
  }
}

void prepare_shadow() {
  if (cells_of_shared) return;
  cells_of_shared = cells_for(kMostShared);
  cells_of_device = cells_for(device_memory().bytes);
  odd_of_shared = cells_for(kMostShared);
  odd_of_device = cells_for(device_memory().bytes);
}

}  // namespace emulation
