// Until the thread that issued a copy has waited for it, its destination is NaN; the source is read at once or at the
// wait, as chance has it, and must be the same at both.
#include "copies.h"

#include <string.h>

#include <emulation/tile.h>
#include <vector>

#include "block.h"
#include "findings.h"
#include "shadow.h"

namespace emulation {

namespace {
constexpr size_t kBytes = 16;

struct Copy {
  unsigned char* to;
  const unsigned char* from;  // null for zeros
  PlaceId place;
  int group;
  unsigned char at_issue[kBytes];
};
struct Copies {
  std::vector<Copy> pending;
  int committed = 0;
};
auto& copies = *new std::vector<Copies>(kMostThreads);

void check_addresses(const Place& place, const void* to, const void* from) {
  const auto bad = [&](cudaError_t code, const char* what) { fail(code, "bounds", text_of(place) + what); };
  const size_t offset = offset_in_shared(to);
  if (offset > block.shared_bytes || block.shared_bytes - offset < kBytes) {
    bad(cudaErrorIllegalAddress, ": to an address outside the block's shared memory");
  }
  if (from && (!block.memory.contains(from) || !block.memory.allows(from, kBytes))) {
    bad(cudaErrorIllegalAddress, ": from bytes of the device that are not in use");
  }
  if (offset % kBytes != 0 || reinterpret_cast<uintptr_t>(from) % kBytes != 0) {
    bad(cudaErrorMisalignedAddress, ": an address that is not aligned to 16 bytes");
  }
}

void finish(const Copy& copy) {
  const unsigned char* bytes = copy.at_issue;
  if (copy.from) {
    track_global(block.memory.offset(copy.from), kBytes, false, copy.place);
    if (memcmp(copy.from, copy.at_issue, kBytes) != 0 && !count_known("copy", copy.place, 0)) {
      add_fact("copy", "the source of $1 changes before the copy is waited for", copy.place);
    }
    if (random_below(2) == 0) bytes = copy.from;
  }
  memcpy(copy.to, bytes, kBytes);
  end_copy(offset_in_shared(copy.to), kBytes, copy.place);
}
}  // namespace

void forget_copies(int thread) {
  for (const Copy& copy : copies[static_cast<size_t>(thread)].pending) cancel_copy(offset_in_shared(copy.to), kBytes);
  copies[static_cast<size_t>(thread)].pending.clear();
  copies[static_cast<size_t>(thread)].committed = 0;
}
void end_copies(int thread) {
  for (const Copy& copy : copies[static_cast<size_t>(thread)].pending) {
    if (!count_known("copy", 0, copy.place)) add_fact("copy", "$2 is never waited for", 0, copy.place);
  }
}

void copy_wait(int groups, int line, const char* file) {
  Site& site = site_at({"copyWait", file, line});
  site.reached++;
  if (site.muted) return;
  Copies& own = copies[static_cast<size_t>(block.current)];
  size_t done = 0;
  while (done < own.pending.size() && own.pending[done].group < own.committed - groups) finish(own.pending[done++]);
  own.pending.erase(own.pending.begin(), own.pending.begin() + static_cast<ptrdiff_t>(done));
}

}  // namespace emulation

namespace fw::cuda {

using namespace emulation;

void copyAsync16(void* to, const void* from, bool valid, int line, const char* file) {
  const Place place = {"copyAsync16", file, line};
  if (!valid) from = nullptr;
  check_addresses(place, to, from);
  Copies& own = copies[static_cast<size_t>(emulation::block.current)];
  const PlaceId id = id_of(site_at(place));
  Copy copy = {static_cast<unsigned char*>(to), static_cast<const unsigned char*>(from), id, own.committed, {}};
  if (from) {
    track_global(emulation::block.memory.offset(from), kBytes, false, id);
    memcpy(copy.at_issue, from, kBytes);
  }
  begin_copy(offset_in_shared(to), kBytes, id);
  memset(to, kPoison, kBytes);
  own.pending.push_back(copy);
}

void copyCommit(int line, const char* file) {
  Site& site = site_at({"copyCommit", file, line});
  site.reached++;
  if (!site.muted) copies[static_cast<size_t>(emulation::block.current)].committed++;
}

}  // namespace fw::cuda
