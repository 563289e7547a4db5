// Pinned memory of the host for copies to and from the card, in blocks whose sizes are powers of two. A block comes
// back with its event recorded behind the copy, and serves again when that has happened. Any thread may call.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>
#include <mutex>
#include <vector>

namespace fw {

class Staging {
 public:
  // Larger copies are made in pieces of this size.
  static constexpr int64_t kPiece = 32 << 20;

  struct Pinned {
    char* data;
    int64_t bytes;
    cudaEvent_t done;
  };

  // At least `bytes`, which kPiece bounds. Throws CudaError and OutOfMemory. Both may wait for the card.
  Pinned take(int64_t bytes);
  void give_back(Pinned pinned);

 private:
  // What stays pinned at most; blocks beyond it are freed when they come back, which waits for the card. Small blocks are
  // counted by themselves: after large copies the many small ones must not wait.
  static constexpr int64_t kSmall = 1 << 20;
  static constexpr int64_t kMostKept[] = {256 << 20, 32 << 20};

  static bool is_small(int64_t bytes) { return bytes <= kSmall; }

  std::mutex mutex_;  // never held while waiting
  std::vector<Pinned> kept_;
  int64_t bytes_kept_[2] = {};  // of large blocks and of small ones
};

}  // namespace fw
