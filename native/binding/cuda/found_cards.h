// The cards that the driver finds, and which of them this process may use.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>
#include <string>
#include <vector>

namespace fw {

struct CardFacts {
  std::string reason;   // why there is none to use; empty when there is
  std::string missing;  // then in a word: see lib/backends/cuda.ts
  std::string name;
  int index = 0;  // among the cards that CUDA_VISIBLE_DEVICES leaves
  int major = 0, minor = 0, multiprocessors = 0;
  int driver = 0, runtime = 0;  // 13000 is CUDA 13.0; driver 0: none
  int64_t memory = 0, shared = 0;  // bytes of the card, and of shared memory for a block
};

// All of them, or the one that FAST_WEIGHTS_CUDA_DEVICE names; where there is none, one entry says why. Looked for once,
// and no card is asked for a context, which takes some of its memory.
const std::vector<CardFacts>& found_cards();

// With what a context adds to them: a card may be listed and refuse. `at` is a position among found_cards().
CardFacts examine_card(int at);

// Makes the card with this index the calling thread's.
cudaError_t choose_card(int index);

}  // namespace fw
