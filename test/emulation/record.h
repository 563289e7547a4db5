// Launches that are written down instead of run, for a model of the card that asks what would be started and with what.
// Memory that is allocated meanwhile takes no room, and what a kernel would write stays zero.
#pragma once
#include <emulation/device.h>
#include <stdint.h>

#include <string>
#include <vector>

namespace emulation {

struct Extent {
  uint64_t begin, bytes;
};

struct Record {
  std::string kernel, source;  // the kernel's type, as compilers write it
  int64_t blocks;
  int threads;
  int64_t shared_bytes;
  std::vector<unsigned char> args;
  // The allocations that arguments point into, each once.
  std::vector<Extent> buffers;
};

// From the environment, for the whole of a process: FAST_WEIGHTS_EMULATION=record.
extern bool recording;
void add_record(const Launch& launch);
// What was recorded since the last call, in the order of the calls that launched.
std::vector<Record> take_records();

// The allocation that holds an address of the device; no bytes where there is none.
Extent allocation_of(uint64_t address);

}  // namespace emulation
