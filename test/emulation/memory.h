// The cards' memory: one reserved range of addresses, a part for each, of which only registered bytes may be used.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace emulation {

struct DeviceMemory {
  unsigned char* base;
  size_t bytes;
  // One entry for each 8 bytes: how many of them, from the first, are in use.
  uint8_t* used;

  bool contains(const void* data) const { return offset(data) < bytes; }
  size_t offset(const void* data) const {
    return static_cast<size_t>(reinterpret_cast<uintptr_t>(data) - reinterpret_cast<uintptr_t>(base));
  }
  // Whether the bytes [data, data + size) are all in use; the first must lie in the device's memory.
  bool allows(const void* data, size_t size) const {
    size_t begin = offset(data);
    const size_t end = begin + size;
    for (; begin < end; begin = (begin | 7) + 1) {
      const size_t in = begin & 7, stop = end - begin < 8 - in ? in + (end - begin) : 8;
      if (used[begin >> 3] < stop) return false;
    }
    return true;
  }
};
// Of one card, and of all of them.
DeviceMemory device_memory(int card);
const DeviceMemory& device_memory();

// Address space that takes no room until it is written, all zeros.
unsigned char* reserve(size_t bytes);

constexpr int kPoison = 0xff;  // NaN in every format

}  // namespace emulation
