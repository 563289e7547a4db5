// The caching allocator of a card: segments from cudaMalloc, split on demand and joined again when neighbours are free.
// All kernels and copies run on one stream, so a freed block may serve again at once: what uses it next is ordered
// behind what used it last.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>
#include <set>
#include <unordered_map>

#include "../blocks.h"

namespace fw {

class CudaMemory {
 public:
  // Before anything else. Without the cache every block is an allocation of the card of exactly its size, so that tools
  // see each access beyond it (FAST_WEIGHTS_CUDA_CACHE=off).
  void attach(cudaStream_t stream, bool cache) { stream_ = stream, cache_ = cache; }
  // A block of `bytes` or a little more; one without data when neither the cache nor the card has room. May wait for the
  // stream, to give what is cached back to the card. Throws CudaError, as `trim` does.
  Block allocate(int64_t bytes);
  void free(Block block);
  // Returns wholly free segments to the card, once the stream is through with them.
  void trim();

  int64_t live() const { return live_; }
  int64_t peak() const { return peak_; }
  int64_t cached() const { return cached_; }

 private:
  struct Piece {
    char* data;
    int64_t bytes;
    bool small, free;
    Piece *before, *after;  // neighbours in the segment
  };
  struct BySize {
    bool operator()(const Piece* a, const Piece* b) const {
      return a->bytes != b->bytes ? a->bytes < b->bytes : a->data < b->data;
    }
  };
  using Pieces = std::set<Piece*, BySize>;

  Piece* take(int64_t bytes, bool small);
  // An allocation of the card; null when it has no room.
  Piece* allocate_whole(int64_t bytes);
  bool add_segment(int64_t bytes, bool small);
  void join(Piece* piece, Piece* after);

  Block hand_out(Piece* piece, int64_t asked);

  cudaStream_t stream_ = nullptr;
  bool cache_ = true;
  Pieces free_[2];  // of segments for small blocks, and for others
  std::unordered_map<char*, Piece*> used_;
  int64_t live_ = 0, peak_ = 0, cached_ = 0;
};

}  // namespace fw
