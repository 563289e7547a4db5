// Stages of shared memory that are filled ahead of their use: with several, the copies of a step run beside the products
// of those before it; with one, beside the work of other blocks.
#pragma once
#include "../../tile.cuh"

namespace fw::cuda::walk {

template <int kStages, class Engine>
struct Pipeline {
  // Calls fill(step, stage) and then use(step, stage) for the steps [begin, end), by all threads of the block. `fill`
  // starts copies; `use` reads what they bring, by way of the engine or not.
  template <class Fill, class Use>
  static FW_DEVICE void run(int64_t begin, int64_t end, const Fill& fill, const Use& use) {
    constexpr int kAhead = kStages - 1;
    int filled = 0, used = 0;
    const auto start = [&](int64_t step) {
      if (step < end) fill(step, filled);
      copyCommit();
      filled = filled == kStages - 1 ? 0 : filled + 1;
    };
    for (int64_t step = begin; step < begin + kAhead; step++) start(step);
    for (int64_t step = begin; step < end; step++) {
      if (kAhead == 0) {
        barrier();  // all have used the step before
        start(step);
      }
      copyWait<(kAhead > 0 ? kAhead - 1 : 0)>();
      Engine::share();
      barrier();
      if (kAhead > 0) start(step + kAhead);
      use(step, used);
      used = used == kStages - 1 ? 0 : used + 1;
    }
  }
};

}  // namespace fw::cuda::walk
