#include "shadow.h"

#include <map>
#include <vector>

#include "clocks.h"
#include "findings.h"
#include "memory.h"

namespace emulation {

namespace {
constexpr size_t kGranule = 2;
constexpr uint32_t kInFlight = ~0u;  // an epoch
constexpr int kEpochShift = 32, kCountShift = 13, kSeveralShift = 11;
constexpr Stamp kPartyMask = (1 << kSeveralShift) - 1;

uint32_t epoch_of(Stamp stamp) { return static_cast<uint32_t>(stamp >> kEpochShift); }
uint32_t count_in(Stamp stamp) { return static_cast<uint32_t>(stamp) >> kCountShift; }
uint64_t several_of(Stamp stamp) { return stamp >> kSeveralShift & 3; }
int party_of(Stamp stamp) { return static_cast<int>(stamp & kPartyMask); }
int warp_of(Stamp stamp) { return party_of(stamp) / kLanes; }
Stamp stamp_of(uint32_t epoch, uint32_t count, uint64_t several, int party) {
  return Stamp{epoch} << kEpochShift | Stamp{count} << kCountShift | several << kSeveralShift |
         static_cast<Stamp>(party);
}
Stamp stamp_now(Several several = kOneThread) {
  return stamp_of(block.epoch, count_of(block.current), several, block.current);
}

// The stamps of an epoch's readers in several warps, by numbers that take the places of count and party; 0 where threads
// know of each other by barriers alone, so that it does not matter who they were.
auto& readers = *new std::vector<std::vector<Stamp>>;
auto& longer = *new std::map<std::pair<uint32_t, Stamp>, uint32_t>;
uint32_t list_of(Stamp stamp) { return count_in(stamp) << kSeveralShift | static_cast<uint32_t>(party_of(stamp)); }
Stamp stamp_of_list(uint32_t epoch, uint32_t list) {
  return stamp_of(epoch, list >> kSeveralShift, kWarps, static_cast<int>(list & kPartyMask));
}
uint32_t with_reader(uint32_t list, Stamp reader) {
  const auto [place, is_new] = longer.insert({{list, reader}, 0});
  if (!is_new) return place->second;
  std::vector<Stamp> stamps = list == 0 ? std::vector<Stamp>{} : readers[list - 1];
  for (Stamp& stamp : stamps) {
    if (party_of(stamp) != party_of(reader) || several_of(stamp) != several_of(reader)) continue;
    stamp = reader;
    return place->second = (readers.push_back(stamps), static_cast<uint32_t>(readers.size()));
  }
  stamps.push_back(reader);
  readers.push_back(stamps);
  return place->second = static_cast<uint32_t>(readers.size());
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
  if (epoch == kInFlight) return false;
  const auto is_known = [&](Stamp stamp) {
    return knows(party_of(now), several_of(now) == kLanes_, party_of(stamp), several_of(stamp) == kLanes_,
                 count_in(stamp));
  };
  if (several_of(earlier) != kWarps) return is_known(earlier);
  const uint32_t list = list_of(earlier);
  if (list == 0) return false;
  for (const Stamp reader : readers[list - 1]) {
    if (!is_known(reader)) return false;
  }
  return true;
}

// What is remembered of reads after one more.
template <bool global>
Stamp joined(Stamp earlier, Stamp now) {
  const uint32_t epoch = epoch_of(earlier);
  if (global && epoch >= block.launch_epoch && (epoch < block.first_epoch || several_of(earlier) == kBlocks)) {
    return stamp_of(epoch_of(now), count_in(now), kBlocks, party_of(now));
  }
  if (epoch != epoch_of(now)) return now;
  const bool in_list = several_of(earlier) >= kWarps;
  if (in_list || warp_of(earlier) != warp_of(now)) {
    if (!clocks_in_use()) return in_list ? earlier : stamp_of_list(epoch, 0);
    const uint32_t before = in_list ? list_of(earlier) : with_reader(0, earlier);
    return in_list && before == 0 ? earlier : stamp_of_list(epoch, with_reader(before, now));
  }
  const bool same_thread = several_of(earlier) == kOneThread && party_of(earlier) == party_of(now);
  if ((same_thread && several_of(now) == kOneThread) || comes_before<false>(earlier, now)) return now;
  const uint32_t count = count_in(earlier) > count_in(now) ? count_in(earlier) : count_in(now);
  return stamp_of(epoch, count, kLanes_, party_of(now));
}

void report(const char* memory, Stamp earlier, bool earlier_write, PlaceId earlier_place, bool write, PlaceId place) {
  const bool in_flight = epoch_of(earlier) == kInFlight;
  const bool blocks = !in_flight && epoch_of(earlier) < block.first_epoch;
  const char* kind = in_flight ? "copy" : blocks || several_of(earlier) == kBlocks ? "blocks" : "race";
  if (count_known(kind, earlier_place, place)) return;
  const std::string now = std::string(write ? "write" : "read") + " of " + memory + " memory by thread " +
                          std::to_string(block.current) + " of block " + std::to_string(block.index) + " ($2)";
  const int party = party_of(earlier);
  const std::string before = std::string(earlier_write ? "written" : "read") + " by " +
                             (party < kMostThreads ? "thread " + std::to_string(party) : "a copy") +
                             (kind[0] == 'b' ? " of another block" : "") + " ($1)";
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
    // Who comes after this write comes after them.
    cell.read = 0;
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

// Threads may use neighbouring bytes.
Cell* cells(Cell* pairs, Cell* odd, size_t offset, size_t bytes) { return bytes == 1 && offset % 2 == 1 ? odd : pairs; }
}  // namespace

void track_shared(size_t offset, size_t bytes, bool write, PlaceId place) {
  track_cells<false>(cells(cells_of_shared, odd_of_shared, offset, bytes), offset, bytes, write, stamp_now(), place);
}
void track_global(size_t offset, size_t bytes, bool write, PlaceId place) {
  track_cells<true>(cells(cells_of_device, odd_of_device, offset, bytes), offset, bytes, write, stamp_now(), place);
}
void track_by_warp(size_t offset, size_t bytes, PlaceId place, int warp) {
  const Stamp now = stamp_of(block.epoch, count_of_warp(warp), kLanes_, warp * kLanes);
  track_cells<false>(cells_of_shared, offset, bytes, false, now, place);
}

void begin_copy(size_t to, size_t bytes, PlaceId place) {
  track_shared(to, bytes, true, place);
  for (size_t i = 0; i < bytes / kGranule; i++) {
    cells_of_shared[to / kGranule + i].write = stamp_of(kInFlight, 0, kOneThread, block.current);
  }
}
void end_copy(size_t to, size_t bytes, PlaceId place, int party, uint32_t count) {
  for (size_t i = 0; i < bytes / kGranule; i++) {
    cells_of_shared[to / kGranule + i].write = stamp_of(block.epoch, count, kOneThread, party);
    cells_of_shared[to / kGranule + i].writer = place;
  }
}
void end_copy(size_t to, size_t bytes, PlaceId place) {
  end_copy(to, bytes, place, block.current, count_of(block.current));
}

void cancel_copy(size_t to, size_t bytes) {
  for (size_t i = 0; i < bytes / kGranule; i++) cells_of_shared[to / kGranule + i] = {};
}

void check_fenced(size_t offset, size_t bytes, PlaceId place) {
  for (size_t i = offset / kGranule; i < (offset + bytes) / kGranule; i++) {
    const Cell& cell = cells_of_shared[i];
    const uint32_t epoch = epoch_of(cell.write);
    const int writer = party_of(cell.write);
    if (epoch < block.first_epoch || epoch == kInFlight || writer >= kMostThreads) continue;
    if (is_fenced(writer, epoch, count_in(cell.write)) || count_known("fence", cell.writer, place)) continue;
    add_fact("fence", "an asynchronous use of shared memory ($2) without a fence after its write by thread " +
                          std::to_string(writer) + " ($1)", cell.writer, place);
  }
}

void forget_readers() {
  readers.clear();
  longer.clear();
}

void prepare_shadow() {
  if (cells_of_shared) return;
  cells_of_shared = cells_for(kMostShared);
  cells_of_device = cells_for(device_memory().bytes);
  odd_of_shared = cells_for(kMostShared);
  odd_of_device = cells_for(device_memory().bytes);
}

}  // namespace emulation
