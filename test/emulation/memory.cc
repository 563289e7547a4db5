#include "memory.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <new>
#include <vector>

#include "card.h"
#include "control.h"
#include "device.h"
#include "record.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(data, bytes) (void)(data)
#define ASAN_UNPOISON_MEMORY_REGION(data, bytes) (void)(data)
#endif

namespace emulation {

namespace {
constexpr size_t kAlignment = 512, kGap = 512;

struct Region {
  size_t bytes = 0;
  bool divided = false;  // by emulation_block
};
std::mutex mutex;
auto& taken = *new std::map<int, size_t>;  // by card
auto& regions = *new std::map<unsigned char*, Region>;
// What the host may use now; the device gets to know of it in the order of its commands.
auto& blocks = *new std::map<unsigned char*, size_t>;
auto& pinned = *new std::map<void*, size_t>;

unsigned char* bytes_at(void* data) { return static_cast<unsigned char*>(data); }

// The first allocation at or before an address, if it reaches there.
template <class Map, class Key>
auto covering(Map& map, Key data) -> decltype(map.begin()) {
  auto found = map.upper_bound(data);
  return found == map.begin() ? map.end() : --found;
}

void set_used(unsigned char* data, size_t bytes, bool used) {
  if (recording) return;
  const DeviceMemory& memory = device_memory();
  uint8_t* entry = memory.used + (memory.offset(data) >> 3);
  memset(entry, used ? 8 : 0, bytes / 8);
  if (bytes % 8 != 0) entry[bytes / 8] = used ? static_cast<uint8_t>(bytes % 8) : 0;
  if (used) ASAN_UNPOISON_MEMORY_REGION(data, bytes);
  if (used) memset(data, kPoison, bytes);
  if (!used) ASAN_POISON_MEMORY_REGION(data, bytes);
}

int card_of(const void* data) {
  return static_cast<int>(device_memory().offset(data) / device_memory(0).bytes);
}

// Whether a copy on this card may name these bytes: host memory, or one block of the card.
bool may_copy(const void* data, size_t bytes, int on) {
  if (!device_memory().contains(data)) return true;
  if (card_of(data) != on) return false;
  unsigned char* begin = bytes_at(const_cast<void*>(data));
  const auto block = covering(blocks, begin);
  return block != blocks.end() && begin + bytes <= block->first + block->second;
}
bool is_pinned(const void* data) {
  const auto found = covering(pinned, const_cast<void*>(data));
  return found != pinned.end() && data < bytes_at(found->first) + found->second;
}
}  // namespace

int64_t pinned_bytes() {
  const std::lock_guard<std::mutex> lock(mutex);
  int64_t sum = 0;
  for (const auto& [data, bytes] : pinned) sum += static_cast<int64_t>(bytes);
  return sum;
}

Extent allocation_of(uint64_t address) {
  const auto* const data = reinterpret_cast<const unsigned char*>(address);
  if (!device_memory().contains(data)) return {0, 0};
  const std::lock_guard<std::mutex> lock(mutex);
  const auto block = covering(blocks, const_cast<unsigned char*>(data));
  if (block == blocks.end() || data >= block->first + block->second) return {0, 0};
  return {reinterpret_cast<uint64_t>(block->first), block->second};
}

unsigned char* reserve(size_t bytes) {
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) throw std::bad_alloc();
  return bytes_at(data);
}

const DeviceMemory& device_memory() {
  // Twice the cards' memory: gaps and fragments cost addresses only.
  static const size_t bytes = 2 * card().memory * static_cast<size_t>(card().cards);
  static const DeviceMemory memory = {reserve(bytes), bytes, reserve(bytes / 8)};
  return memory;
}
DeviceMemory device_memory(int of) {
  const DeviceMemory& all = device_memory();
  const size_t bytes = 2 * card().memory, begin = bytes * static_cast<size_t>(of);
  return {all.base + begin, bytes, all.used + begin / 8};
}

}  // namespace emulation

using namespace emulation;

cudaError_t cudaMalloc(void** data, size_t bytes) {
  const cudaError_t code = unusable();
  if (code != cudaSuccess) return done(code);
  const std::lock_guard<std::mutex> lock(mutex);
  *data = nullptr;
  if (bytes == 0) return cudaSuccess;
  size_t& own = taken[current_device()];
  if (bytes > card().memory - own) return done(cudaErrorMemoryAllocation);
  const DeviceMemory memory = device_memory(current_device());
  unsigned char* place = memory.base + kGap;
  for (const auto& [begin, region] : regions) {
    if (begin < memory.base) continue;
    if (place + bytes + kGap <= begin) break;
    place = begin + (region.bytes + kGap + kAlignment - 1) / kAlignment * kAlignment;
  }
  if (memory.offset(place) + bytes > memory.bytes) return done(cudaErrorMemoryAllocation);
  own += bytes;
  regions[place] = {bytes, false};
  blocks[place] = bytes;
  set_used(place, bytes, true);
  *data = place;
  return cudaSuccess;
}

cudaError_t cudaFree(void* data) {
  if (!data) return cudaSuccess;
  wait_for_all();
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = regions.find(bytes_at(data));
  if (found == regions.end()) return done(cudaErrorInvalidValue);
  const size_t bytes = found->second.bytes;
  set_used(found->first, bytes, false);
  blocks.erase(blocks.lower_bound(found->first), blocks.lower_bound(found->first + bytes));
  madvise(data, bytes, MADV_DONTNEED);
  taken[card_of(data)] -= bytes;
  regions.erase(found);
  return done(unusable());
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  const std::lock_guard<std::mutex> lock(mutex);
  *total = card().memory;
  *free = card().memory - taken[current_device()];
  return done(unusable());
}

cudaError_t cudaHostAlloc(void** data, size_t bytes, unsigned) {
  const cudaError_t code = unusable();
  if (code != cudaSuccess) return done(code);
  *data = malloc(bytes ? bytes : 1);
  if (!*data) return done(cudaErrorMemoryAllocation);
  memset(*data, kPoison, bytes);
  const std::lock_guard<std::mutex> lock(mutex);
  pinned[*data] = bytes;
  return cudaSuccess;
}
cudaError_t cudaMallocHost(void** data, size_t bytes, unsigned flags) { return cudaHostAlloc(data, bytes, flags); }
cudaError_t cudaFreeHost(void* data) {
  wait_for_all();
  const std::lock_guard<std::mutex> lock(mutex);
  if (data && pinned.erase(data) == 0) return done(cudaErrorInvalidValue);
  free(data);
  return done(unusable());
}

// As on a real device, pageable host memory is read before the call returns, or written before it does; pinned memory
// when the stream gets there.
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  cudaError_t code = unusable();
  if (code != cudaSuccess || bytes == 0) return done(code);
  if (device_of(stream) != current_device()) return done(cudaErrorInvalidResourceHandle);
  bool from_pageable, to_pageable;
  {
    const std::lock_guard<std::mutex> lock(mutex);
    if (!may_copy(to, bytes, current_device()) || !may_copy(from, bytes, current_device())) return done(cudaErrorInvalidValue);
    from_pageable = !device_memory().contains(from) && !is_pinned(from);
    to_pageable = !device_memory().contains(to) && !is_pinned(to);
  }
  if (from_pageable) {
    const auto* begin = static_cast<const unsigned char*>(from);
    submit(stream, [to, staged = std::vector<unsigned char>(begin, begin + bytes)] {
      memcpy(to, staged.data(), staged.size());
    });
  } else {
    submit(stream, [=] { memmove(to, from, bytes); });
  }
  if (to_pageable) wait_for(stream);
  return done(unusable());
}
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  const cudaError_t code = cudaMemcpyAsync(to, from, bytes, kind, nullptr);
  wait_for(nullptr);
  return code == cudaSuccess ? done(unusable()) : code;
}

cudaError_t cudaMemcpyPeerAsync(void* to, int to_card, const void* from, int from_card, size_t bytes, cudaStream_t stream) {
  const cudaError_t code = unusable();
  if (code != cudaSuccess || bytes == 0) return done(code);
  if (device_of(stream) != current_device()) return done(cudaErrorInvalidResourceHandle);
  const std::lock_guard<std::mutex> lock(mutex);
  const bool named = device_memory().contains(to) && device_memory().contains(from);
  if (!named || !may_copy(to, bytes, to_card) || !may_copy(from, bytes, from_card)) return done(cudaErrorInvalidValue);
  submit(stream, [=] { memmove(to, from, bytes); });
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* data, int value, size_t bytes, cudaStream_t stream) {
  const cudaError_t code = unusable();
  if (code != cudaSuccess || bytes == 0) return done(code);
  if (device_of(stream) != current_device() || card_of(data) != current_device()) {
    return done(cudaErrorInvalidResourceHandle);
  }
  {
    // The host may set more than the block has, up to its allocator's alignment: only the block's bytes are set.
    unsigned char* begin = bytes_at(data);
    const std::lock_guard<std::mutex> lock(mutex);
    const auto block = covering(blocks, begin);
    const auto region = covering(regions, begin);
    if (block == blocks.end() || begin > block->first + block->second ||
        begin + bytes > region->first + region->second.bytes) {
      return done(cudaErrorInvalidValue);
    }
    bytes = std::min(bytes, static_cast<size_t>(block->first + block->second - begin));
  }
  submit(stream, [=] { memset(data, value, bytes); });
  return cudaSuccess;
}

void emulation_block(void* data, size_t bytes, cudaStream_t stream) {
  unsigned char* begin = bytes_at(data);
  const std::lock_guard<std::mutex> lock(mutex);
  const auto region = covering(regions, begin);
  if (region == regions.end() || begin + bytes > region->first + region->second.bytes) return;
  if (!region->second.divided) {
    region->second.divided = true;
    blocks.erase(region->first);
    submit(stream, [begin = region->first, size = region->second.bytes] { set_used(begin, size, false); }, true);
  }
  blocks[begin] = bytes;
  submit(stream, [=] { set_used(begin, bytes, true); }, true);
}
void emulation_block_free(void* data, cudaStream_t stream) {
  unsigned char* begin = bytes_at(data);
  const std::lock_guard<std::mutex> lock(mutex);
  const auto block = blocks.find(begin);
  if (block == blocks.end()) return;
  submit(stream, [begin, bytes = block->second] { set_used(begin, bytes, false); }, true);
  blocks.erase(block);
}
