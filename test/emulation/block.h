// The block of threads that runs: every thread is a fibre, and they take turns where they wait for each other.
#pragma once
#include <cuda_runtime_api.h>
#include <stddef.h>
#include <stdint.h>

#include <string>
#include <vector>

#include "fibre.h"

namespace emulation {

constexpr int kLanes = 32, kMostThreads = 1024, kMostWarps = kMostThreads / kLanes;
constexpr size_t kMostShared = 228 << 10;

// A call of a synchronising primitive.
struct Place {
  const char* primitive;
  const char* file;
  int line;
};
bool operator==(const Place& a, const Place& b);
std::string text_of(const Place& place);

// 16 bytes on their way into shared memory.
struct Copy {
  unsigned char* to;
  const unsigned char* from;
  bool taken;  // the bytes were read when the copy was issued; otherwise they are when it is waited for
  unsigned char bytes[16];
};

struct Thread {
  Fibre fibre;
  std::vector<std::vector<Copy>> groups;  // committed, in order
  std::vector<Copy> open;
};

struct Warp {
  uint32_t ready;  // lanes that could run but do not
  uint32_t exited, at_barrier;
  int arrived;     // lanes at the collective `place`
  Place place;
  const void* in[kLanes];
  void* out[kLanes];
};

struct Block {
  int64_t index, blocks;
  int threads, warps;
  int current;  // the running thread
  unsigned char* shared;
  size_t shared_bytes;
  uint32_t ready;  // warps with lanes that could run
  int arrived;     // threads at the barrier `place`
  int exited;
  Place place;
  Thread thread[kMostThreads];
  Warp warp[kMostWarps];

  Thread& running() { return thread[current]; }
  Warp& running_warp() { return warp[current / kLanes]; }
};
// The device runs one block at a time.
extern Block& block;

// Runs `run` by each thread of each block; false if it failed, of what the device has died.
bool run_blocks(int64_t blocks, int threads, size_t shared_bytes, const void* args,
                void (*run)(const void* args, void* shared));

// Waits until all lanes of the warp have called with the same place; the last one calls `act` for all, with what each
// has given.
void meet(const Place& place, const void* in, void* out, void (*act)(const void* const* in, void* const* out));
// The same for the threads of the block.
void meet_block(const Place& place);

// Ends the launch that runs.
[[noreturn]] void fail(cudaError_t code, const std::string& message);

// The schedule: 0 runs warps in order, each as far as it gets; with others a random warp runs ahead in bursts.
void set_seed(uint64_t seed);
uint32_t random_below(uint32_t n);

}  // namespace emulation
