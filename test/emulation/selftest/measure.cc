// What the emulation costs, in time of the processor.
#include <stdio.h>
#include <time.h>

#include <vector>

#include "../control.h"
#include "support.h"
#include "toys.h"

namespace selftest {

namespace {
double seconds() {
  timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

template <class Run>
void time_of(const char* what, double count, const Run& run) {
  double best = 1e9;
  for (int i = 0; i < 5; i++) {
    const double begin = seconds();
    run();
    cudaDeviceSynchronize();
    const double taken = seconds() - begin;
    best = taken < best ? taken : best;
  }
  printf("%-60s %8.1f ns\n", what, best / count * 1e9);
}
}  // namespace

void measure() {
  constexpr int64_t kBlocks = 500;
  const Buffer<float> x(std::vector<float>(256 * kBlocks)), y(256 * kBlocks);
  time_of("reduce, a thread with 5 shuffles, a barrier, 2 accesses", 256 * kBlocks,
          [&] { toys::reduce(stream(), x.data(), y.data(), kBlocks); });
  constexpr int kDepth = 200, kTimes = 40;
  time_of("product, an mma and its 64 accesses", kTimes * kDepth * 3. / 8, [&] {
    for (int i = 0; i < kTimes; i++) toys::product(stream(), x.data(), x.data(), y.data(), kDepth);
  });
  time_of("pipeline, an element with 2 accesses", 128000.,
          [&] { toys::pipeline(stream(), x.data(), y.data(), 128000); });
}

}  // namespace selftest
