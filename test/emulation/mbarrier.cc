#include "mbarrier.h"

#include <emulation/bulk.h>
#include <string.h>

#include <map>
#include <string>
#include <vector>

#include "block.h"
#include "clocks.h"
#include "findings.h"
#include "shadow.h"

namespace emulation {

namespace {
constexpr size_t kUnit = 16, kObject = sizeof(uint64_t);
constexpr int64_t kMostBytes = (1 << 20) - 1;

struct BulkCopy {
  unsigned char* to;
  const unsigned char* from;
  PlaceId place;
  std::vector<unsigned char> at_issue;
};

struct Mbarrier {
  int number, arrivals;
  int phase = 0, missing;  // the phase that has not ended, and arrivals until it does
  int64_t bytes = 0;       // announced that have not come
  Knowledge told = {};
  // Of the phase, and of those that have ended before anybody has waited for them.
  std::vector<BulkCopy> copies = {}, there = {};
  std::vector<int> waiting = {};
};
auto& mbarriers = *new std::map<size_t, Mbarrier>;

[[noreturn]] void bad(const Place& place, const char* what) {
  fail(cudaErrorLaunchFailure, "mbarrier", text_of(place) + ": " + what);
}

// The object is read and written by nobody else, so that an access to it stands for knowing of its initialisation.
Mbarrier& at(uint64_t* object, const Place& place) {
  const auto found = mbarriers.find(offset_in_shared(object));
  if (found == mbarriers.end()) bad(place, "it has not been initialised");
  track_shared(found->first, kObject, false, id_of(site_at(place)));
  return found->second;
}

void end_phase_if_all_came(Mbarrier& barrier) {
  if (barrier.missing > 0 || barrier.bytes != 0) return;
  barrier.phase++;
  barrier.missing = barrier.arrivals;
  for (BulkCopy& copy : barrier.copies) barrier.there.push_back(std::move(copy));
  barrier.copies.clear();
  for (const int thread : barrier.waiting) wake(thread);
  barrier.waiting.clear();
}

void arrive(Mbarrier& barrier, int64_t bytes, const Place& place) {
  if (barrier.missing == 0) bad(place, "more arrive in a phase than it is there for");
  tell(block.current, barrier.told);
  barrier.missing--;
  barrier.bytes += bytes;
  if (barrier.bytes > kMostBytes) bad(place, "more bytes than it can count");
  end_phase_if_all_came(barrier);
}

// What has come is there for all who know of the phase.
void deliver(Mbarrier& barrier) {
  for (const BulkCopy& copy : barrier.there) {
    const size_t bytes = copy.at_issue.size();
    track_global(block.memory.offset(copy.from), bytes, false, copy.place);
    const bool same = memcmp(copy.from, copy.at_issue.data(), bytes) == 0;
    if (!same && !count_known("copy", copy.place, 0)) {
      add_fact("copy", "the source of $1 changes before the copy is waited for", copy.place);
    }
    memcpy(copy.to, random_below(2) == 0 ? copy.from : copy.at_issue.data(), bytes);
    end_copy(offset_in_shared(copy.to), bytes, copy.place, kMostThreads + barrier.number,
             static_cast<uint32_t>(barrier.phase - 1));
  }
  barrier.there.clear();
}

template <class Visit>
void each_pending(const Visit& visit) {
  for (const auto& [offset, barrier] : mbarriers) {
    for (const BulkCopy& copy : barrier.copies) visit(copy);
    for (const BulkCopy& copy : barrier.there) visit(copy);
  }
}

// The site of a primitive that is reached, or null where it is muted.
Site* reach(const Place& place) {
  Site& site = site_at(place);
  site.reached++;
  return site.muted ? nullptr : &site;
}
}  // namespace

void forget_mbarriers() {
  each_pending([](const BulkCopy& copy) { cancel_copy(offset_in_shared(copy.to), copy.at_issue.size()); });
  mbarriers.clear();
}
void end_mbarriers() {
  each_pending([](const BulkCopy& copy) {
    if (!count_known("copy", 0, copy.place)) add_fact("copy", "$2 is never waited for", 0, copy.place);
  });
}
// What was told before a barrier of the block all know.
void forget_arrivals() {
  for (auto& [offset, barrier] : mbarriers) memset(barrier.told, 0, sizeof barrier.told);
}

}  // namespace emulation

namespace fw::cuda {

using namespace emulation;

void mbarrierInit(uint64_t* object, int arrivals, int line, const char* file) {
  const Place place = {"mbarrierInit", file, line};
  const size_t offset = offset_in_shared(object);
  if (offset + kObject > emulation::block.shared_bytes || offset % kObject != 0) {
    fail(cudaErrorIllegalAddress, "bounds", text_of(place) + ": not eight bytes of the block's shared memory");
  }
  if (arrivals < 1 || arrivals > kMostThreads) bad(place, "a number of arrivals that cannot be");
  if (mbarriers.count(offset)) bad(place, "it is initialised again");
  const int number = static_cast<int>(mbarriers.size());
  if (number == kMostMbarriers) bad(place, "there are more than the emulation knows");
  site_at(place).reached++;
  track_shared(offset, kObject, true, id_of(site_at(place)));
  Mbarrier& barrier = mbarriers[offset];
  barrier.number = number, barrier.arrivals = barrier.missing = arrivals;
}

void mbarrierArrive(uint64_t* object, int line, const char* file) {
  const Place place = {"mbarrierArrive", file, line};
  if (reach(place)) arrive(at(object, place), 0, place);
}

void mbarrierExpect(uint64_t* object, int bytes, int line, const char* file) {
  const Place place = {"mbarrierExpect", file, line};
  if (reach(place)) arrive(at(object, place), bytes, place);
}

void mbarrierWait(uint64_t* object, int phase, int line, const char* file) {
  const Place place = {"mbarrierWait", file, line};
  if (!reach(place)) return;
  Mbarrier& barrier = at(object, place);
  if (barrier.phase < phase) bad(place, "the phase before the one that is waited for has not ended");
  if (barrier.phase == phase) {
    barrier.waiting.push_back(emulation::block.current);
    sleep_at(place);
  }
  if (barrier.phase > phase + 1) bad(place, "the phase after the one that is waited for has ended");
  barrier.told[kMostThreads + barrier.number] = static_cast<uint32_t>(barrier.phase);
  learn(emulation::block.current, barrier.told);
  deliver(barrier);
}

void fenceProxyAsync(int line, const char* file) {
  if (reach({"fenceProxyAsync", file, line})) fence(emulation::block.current);
}

void copyBulk(void* to, const void* from, int bytes, uint64_t* object, int line, const char* file) {
  const Place place = {"copyBulk", file, line};
  const size_t size = static_cast<size_t>(bytes), offset = offset_in_shared(to);
  const auto wrong = [&](cudaError_t code, const char* what) { fail(code, "bounds", text_of(place) + what); };
  const auto& memory = emulation::block.memory;
  if (bytes <= 0 || bytes % kUnit != 0 || offset % kUnit != 0 || reinterpret_cast<uintptr_t>(from) % kUnit != 0) {
    wrong(cudaErrorMisalignedAddress, ": not whole units of 16 bytes");
  }
  if (offset > emulation::block.shared_bytes || emulation::block.shared_bytes - offset < size) {
    wrong(cudaErrorIllegalAddress, ": to an address outside the block's shared memory");
  }
  if (!memory.contains(from) || !memory.allows(from, size)) {
    wrong(cudaErrorIllegalAddress, ": from bytes of the device that are not in use");
  }
  const PlaceId id = id_of(site_at(place));
  site_at(place).reached++;
  Mbarrier& barrier = at(object, place);
  check_fenced(offset_in_shared(object), kObject, id);
  check_fenced(offset, size, id);
  track_global(memory.offset(from), size, false, id);
  begin_copy(offset, size, id);
  memset(to, kPoison, size);
  const auto* const source = static_cast<const unsigned char*>(from);
  barrier.copies.push_back({static_cast<unsigned char*>(to), source, id, {source, source + size}});
  barrier.bytes -= bytes;
  end_phase_if_all_came(barrier);
}

}  // namespace fw::cuda
