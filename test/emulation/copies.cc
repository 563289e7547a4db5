// Until the thread that issued a copy has waited for it, its destination is NaN; the source is read at once or at the
// wait, as chance has it, and must be the same at both.
#include "copies.h"

#include <string.h>

#include <emulation/tile.h>
#include <string>
#include <vector>

#include "block.h"
#include "findings.h"
#include "shadow.h"

namespace emulation {

namespace {
constexpr size_t kMostBytes = 16;

struct Copy {
  unsigned char* to;
  const unsigned char* from;  // null for zeros
  size_t bytes;
  PlaceId place;
  int group;
  unsigned char at_issue[kMostBytes];
};
struct Copies {
  std::vector<Copy> pending;
  int committed = 0;
};
auto& copies = *new std::vector<Copies>(kMostThreads);

void check_addresses(const Place& place, const void* to, const void* from, size_t bytes) {
  const auto bad = [&](cudaError_t code, const char* what) { fail(code, "bounds", text_of(place) + what); };
  const size_t offset = offset_in_shared(to);
  if (offset > block.shared_bytes || block.shared_bytes - offset < bytes) {
    bad(cudaErrorIllegalAddress, ": to an address outside the block's shared memory");
  }
  if (from && (!block.memory.contains(from) || !block.memory.allows(from, bytes))) {
    bad(cudaErrorIllegalAddress, ": from bytes of the device that are not in use");
  }
  if (offset % bytes != 0 || reinterpret_cast<uintptr_t>(from) % bytes != 0) {
    const std::string what = ": an address that is not aligned to " + std::to_string(bytes) + " bytes";
    bad(cudaErrorMisalignedAddress, what.c_str());
  }
}

// Begins a copy of so many bytes, or of zeros where `from` is null.
void begin(const Place& place, void* to, const void* from, size_t bytes) {
  check_addresses(place, to, from, bytes);
  Copies& own = copies[static_cast<size_t>(block.current)];
  const PlaceId id = id_of(site_at(place));
  Copy copy = {static_cast<unsigned char*>(to), static_cast<const unsigned char*>(from), bytes, id, own.committed, {}};
  if (from) {
    track_global(block.memory.offset(from), bytes, false, id);
    memcpy(copy.at_issue, from, bytes);
  }
  begin_copy(offset_in_shared(to), bytes, id);
  memset(to, kPoison, bytes);
  own.pending.push_back(copy);
}

void finish(const Copy& copy) {
  const unsigned char* bytes = copy.at_issue;
  if (copy.from) {
    track_global(block.memory.offset(copy.from), copy.bytes, false, copy.place);
    if (memcmp(copy.from, copy.at_issue, copy.bytes) != 0 && !count_known("copy", copy.place, 0)) {
      add_fact("copy", "the source of $1 changes before the copy is waited for", copy.place);
    }
    if (random_below(2) == 0) bytes = copy.from;
  }
  memcpy(copy.to, bytes, copy.bytes);
  end_copy(offset_in_shared(copy.to), copy.bytes, copy.place);
}
}  // namespace

void forget_copies(int thread) {
  for (const Copy& copy : copies[static_cast<size_t>(thread)].pending) {
    cancel_copy(offset_in_shared(copy.to), copy.bytes);
  }
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
  begin({"copyAsync16", file, line}, to, valid ? from : nullptr, 16);
}
void copyAsync4(void* to, const void* from, int line, const char* file) {
  begin({"copyAsync4", file, line}, to, from, 4);
}

void copyCommit(int line, const char* file) {
  Site& site = site_at({"copyCommit", file, line});
  site.reached++;
  if (!site.muted) copies[static_cast<size_t>(emulation::block.current)].committed++;
}

}  // namespace fw::cuda
