// The block of threads that runs: every thread is a fibre, and they take turns where they wait for each other.
#pragma once
#include <cuda_runtime_api.h>
#include <stddef.h>
#include <stdint.h>

#include <string>

#include "fibre.h"
#include "memory.h"
#include "places.h"

namespace emulation {

constexpr int kLanes = 32, kMostThreads = 1024, kMostWarps = kMostThreads / kLanes;
constexpr size_t kMostShared = 228 << 10;

struct Warp {
  uint32_t ready;  // lanes that could run but do not
  uint32_t at_barrier, returned;
  int arrived;  // lanes at the collective `place`
  Place place;
  const void* in[kLanes];
  void* out[kLanes];
};

struct Block {
  int64_t index, blocks;
  int threads, warps;
  int current;  // the running thread, and its stack
  const unsigned char* stack;
  size_t stack_bytes;
  unsigned char* shared;
  size_t shared_bytes;
  const unsigned char* args;
  size_t args_bytes;
  DeviceMemory memory;
  // Counts blocks and barriers on and on; its values when the block and the launch began.
  uint32_t epoch, first_epoch, launch_epoch;
  uint32_t ready;  // warps with lanes that could run
  int arrived;     // threads at the barrier `place`
  int returned;
  Place place;
  Fibre fibre[kMostThreads];
  Warp warp[kMostWarps];
  Place asleep[kMostThreads];  // where a thread sleeps; no primitive where it does not

  Warp& running_warp() { return warp[current / kLanes]; }
};
// The device runs one block at a time.
extern Block block;

inline size_t offset_in_shared(const void* data) {
  return static_cast<size_t>(static_cast<const unsigned char*>(data) - block.shared);
}

struct Work {
  int64_t blocks;
  int threads;
  size_t shared_bytes;
  const void* args;
  size_t args_bytes;
  void (*run)(const void* args, void* shared);
};
// Runs all blocks, or those before one that fails.
void run_blocks(const Work& work);

// Waits until all lanes of the warp have called with the same place; the last one calls `act` for all, with what each
// has given.
void meet(const Place& place, const void* in, void* out, void (*act)(const void* const* in, void* const* out));
// The same for the threads of the block.
void meet_block(const Place& place);
// Lets the running thread stand at a place until another one wakes it.
void sleep_at(const Place& place);
void wake(int thread);

// Ends the launch that runs, and the device with it; as add_fact of findings.h.
[[noreturn]] void fail(cudaError_t code, const char* kind, const std::string& text, PlaceId place = 0);

uint32_t random_below(uint32_t n);

}  // namespace emulation
