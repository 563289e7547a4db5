// A list of blocks, searched for one that fits and whose copy is through.
#include "staging.h"

#include <string>

#include "../../cuda/context.h"
#include "../errors.h"

namespace fw {

Staging::Pinned Staging::take(int64_t bytes) {
  constexpr int64_t kLeast = 64 << 10;
  int64_t size = kLeast;
  while (size < bytes) size *= 2;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    for (size_t i = 0; i < kept_.size(); i++) {
      if (kept_[i].bytes != size) continue;
      if (cudaEventQuery(kept_[i].done) != cudaSuccess) {
        cudaGetLastError();  // an event that has not happened yet is no error
        continue;
      }
      const Pinned found = kept_[i];
      kept_[i] = kept_.back();
      kept_.pop_back();
      bytes_kept_[is_small(size)] -= size;
      return found;
    }
  }
  cudaEvent_t done = nullptr;
  cuda::check("event", cudaEventCreateWithFlags(&done, cudaEventBlockingSync | cudaEventDisableTiming));
  void* data = nullptr;
  const cudaError_t code = cudaMallocHost(&data, static_cast<size_t>(size));
  if (code == cudaSuccess) return {static_cast<char*>(data), size, done};
  cudaEventDestroy(done);
  cudaGetLastError();
  if (code == cudaErrorMemoryAllocation) {
    throw OutOfMemory("the host has no room to pin " + std::to_string(size) + " bytes for a copy");
  }
  throw cuda::CudaError("pinned memory", code);
}

void Staging::give_back(Pinned pinned) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    const bool small = is_small(pinned.bytes);
    if (bytes_kept_[small] + pinned.bytes <= kMostKept[small]) {
      kept_.push_back(pinned);
      bytes_kept_[small] += pinned.bytes;
      return;
    }
  }
  // Behind work that may take long, and while others go on. What fails here has been told by the copy.
  cudaEventSynchronize(pinned.done);
  cudaEventDestroy(pinned.done);
  cudaFreeHost(pinned.data);
  cudaGetLastError();
}

}  // namespace fw
