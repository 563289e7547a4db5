// Asynchronous copies. Until the thread that issued one has waited for it, its destination is NaN; the source is read at
// once or at the wait, as chance has it.
#include <string.h>

#include <emulation/tile.h>

#include "block.h"
#include "memory.h"

namespace emulation {

namespace {
void finish(const Copy& copy) { memcpy(copy.to, copy.taken ? copy.bytes : copy.from, sizeof copy.bytes); }
}  // namespace

void copy_wait(int pending, int line, const char* file) {
  (void)line;
  (void)file;
  auto& groups = block.running().groups;
  while (groups.size() > static_cast<size_t>(pending)) {
    for (const Copy& copy : groups.front()) finish(copy);
    groups.erase(groups.begin());
  }
}

}  // namespace emulation

namespace fw::cuda {

using namespace emulation;

void copyAsync16(void* to, const void* from, bool valid, int line, const char* file) {
  const Place place = {"copyAsync16", file, line};
  Copy copy = {static_cast<unsigned char*>(to), static_cast<const unsigned char*>(from), true, {}};
  const auto offset = static_cast<size_t>(copy.to - emulation::block.shared);
  if (offset > emulation::block.shared_bytes || emulation::block.shared_bytes - offset < 16) {
    fail(cudaErrorIllegalAddress, text_of(place) + ": to an address outside the block's shared memory");
  }
  if (offset % 16 != 0) fail(cudaErrorMisalignedAddress, text_of(place) + ": to an address not aligned to 16 bytes");
  if (valid) {
    const DeviceMemory& memory = device_memory();
    if (!memory.contains(from) || !memory.allows(from, 16)) {
      fail(cudaErrorIllegalAddress, text_of(place) + ": from an address outside the device's memory");
    }
    if (memory.offset(from) % 16 != 0) {
      fail(cudaErrorMisalignedAddress, text_of(place) + ": from an address not aligned to 16 bytes");
    }
    copy.taken = random_below(2) == 0;
    if (copy.taken) memcpy(copy.bytes, from, sizeof copy.bytes);
  }
  memset(to, kPoison, sizeof copy.bytes);
  emulation::block.running().open.push_back(copy);
}

void copyCommit(int, const char*) {
  Thread& thread = emulation::block.running();
  thread.groups.push_back(std::move(thread.open));
  thread.open.clear();
}

}  // namespace fw::cuda
