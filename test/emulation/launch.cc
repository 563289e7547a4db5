// Launches of kernels on the emulated device.
#include <emulation/device.h>

#include <atomic>

#include "block.h"
#include "card.h"
#include "control.h"
#include "device.h"
#include "findings.h"
#include "record.h"

namespace emulation {

namespace {
std::atomic<int64_t> count{0};

// "... [with Kernel = fw::cuda::{anonymous}::Add]": the kernel's own name.
std::string short_name(const std::string& text) {
  const std::string mark = "Kernel = ";
  std::string name = text.substr(text.find(mark) + mark.size());
  name.erase(name.find_last_of(']'));
  for (const std::string scope : {"fw::cuda::", "{anonymous}::"}) {
    if (name.rfind(scope, 0) == 0) name.erase(0, scope.size());
  }
  return name;
}

void run(const Launch& launch) {
  if (++count == card().fail_launch) return die(cudaErrorIllegalAddress);
  set_kernel(short_name(launch.kernel));
  run_blocks({launch.blocks, launch.threads, static_cast<size_t>(launch.bytes), launch.args.get(), launch.args_bytes,
              launch.run});
}
}  // namespace

cudaError_t enqueue(cudaStream_t stream, Launch launch) {
  const cudaError_t code = unusable();
  if (code != cudaSuccess) return done(code);
  if (device_of(stream) != current_device()) return done(cudaErrorInvalidResourceHandle);
  const cudaError_t ready = prepare(launch.function, static_cast<size_t>(launch.bytes));
  if (ready != cudaSuccess) return done(ready);
  if (recording) {
    add_record(launch);
    return cudaSuccess;
  }
  submit(stream, [launch = std::move(launch)] { run(launch); });
  return cudaSuccess;
}

int64_t launches() { return count; }

}  // namespace emulation
