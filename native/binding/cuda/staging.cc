// A list of blocks, searched for one that fits and whose copy is through.
#include "staging.h"

#include "../../cuda/context.h"

namespace fw {

Staging::Pinned Staging::take(int64_t bytes) {
  constexpr int64_t kLeast = 64 << 10;
  int64_t size = kLeast;
  while (size < bytes) size *= 2;
  for (size_t i = 0; i < kept_.size(); i++) {
    if (kept_[i].bytes != size || cudaEventQuery(kept_[i].done) != cudaSuccess) continue;
    const Pinned found = kept_[i];
    kept_[i] = kept_.back();
    kept_.pop_back();
    bytes_kept_ -= size;
    return found;
  }
  cudaGetLastError();  // an event that has not happened yet is no error
  void* data = nullptr;
  cuda::check("pinned memory", cudaMallocHost(&data, static_cast<size_t>(size)));
  Pinned pinned{static_cast<char*>(data), size, nullptr};
  cuda::check("event", cudaEventCreateWithFlags(&pinned.done, cudaEventBlockingSync | cudaEventDisableTiming));
  return pinned;
}

void Staging::give_back(Pinned pinned) {
  if (bytes_kept_ + pinned.bytes <= kMostKept) {
    kept_.push_back(pinned);
    bytes_kept_ += pinned.bytes;
    return;
  }
  cudaEventSynchronize(pinned.done);
  cudaEventDestroy(pinned.done);
  cudaFreeHost(pinned.data);
}

}  // namespace fw
