// Memory of one environment: blocks aligned to 64 bytes, kept in free lists by size. Because kernels of an environment
// run in the order of its queue, a freed block may serve again at once.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "../blocks.h"

namespace fw {

struct MemoryUsage {
  int64_t live = 0, peak = 0, cached = 0;
};

class Allocator {
 public:
  Allocator() = default;
  Allocator(const Allocator&) = delete;
  ~Allocator();

  // A block of `bytes` or a little more; one without data when the system has no memory left.
  Block allocate(int64_t bytes);
  void free(Block block);

  // Hands over the cached blocks; the caller returns them with `release` once nothing queued uses them.
  std::vector<Block> take_cached();
  static void release(const std::vector<Block>& blocks);

  // Whether the cache outgrew what the program ever had live at once.
  bool bloated() const { return usage_.live + usage_.cached > usage_.peak + usage_.peak / 4 + (64 << 20); }
  const MemoryUsage& usage() const { return usage_; }

 private:
  std::vector<std::vector<char*>> cached_;  // by size class
  MemoryUsage usage_;
};

}  // namespace fw
