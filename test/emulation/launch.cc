// Launches of kernels on the emulated device.
#include <emulation/device.h>

#include <atomic>

#include "block.h"
#include "card.h"
#include "control.h"
#include "device.h"

namespace emulation {

namespace {
std::atomic<int64_t> count{0};

// "... [with Kernel = fw::cuda::Add]": the kernel's own name.
std::string short_name(const std::string& name) {
  const std::string mark = "Kernel = ";
  const size_t begin = name.find(mark), from = begin == std::string::npos ? 0 : begin + mark.size();
  return name.substr(from, name.find_last_of(']') - from);
}

void run(const Launch& launch) {
  const int64_t number = ++count;
  if (number == card().fail_launch) {
    return die(cudaErrorIllegalAddress, short_name(launch.kernel) + ": launch " + std::to_string(number) +
                                            " fails because FAST_WEIGHTS_EMULATED_CARD says so");
  }
  run_blocks(launch.blocks, launch.threads, static_cast<size_t>(launch.bytes), launch.args.get(), launch.run);
}
}  // namespace

cudaError_t enqueue(cudaStream_t stream, Launch launch) {
  const cudaError_t code = unusable();
  if (code != cudaSuccess) return done(code);
  int most = 0;
  cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0);
  if (launch.bytes > most) return done(cudaErrorInvalidValue);
  if (launch.threads > kMostThreads || launch.threads % kLanes != 0) return done(cudaErrorInvalidConfiguration);
  submit(stream, [launch = std::move(launch)] { run(launch); });
  return cudaSuccess;
}

int64_t launches() { return count; }

}  // namespace emulation
