// Memory of one environment: blocks aligned to 64 bytes, kept in free lists by size. Because kernels of an environment
// run in the order of its queue, a freed block may serve again at once. What has not been used again
// for a second or two goes back to the system, and whatever makes the cache much larger than all that was in use lately.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
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
  // The same of those that the program seems to need no more, the oldest first.
  std::vector<Block> take_excess();
  static void release(const std::vector<Block>& blocks);

  // Whether `take_excess` is worth a call: there is too much in the cache, or another second has begun for what lies there.
  bool bloated() { return usage_.cached > kSpared && (over_limit() || age()); }
  // Whether there may be in a second, should the program take nothing out of it.
  bool may_bloat() const { return usage_.cached > kSpared; }
  const MemoryUsage& usage() const { return usage_; }

 private:
  using Clock = std::chrono::steady_clock;
  struct Cached {
    char* data;
    uint64_t freed;  // a count
  };

  static constexpr int64_t kSpared = 64 << 20;

  char* take(int size_class);
  // Whether another second has begun.
  bool age();
  bool over_limit() const;
  // The list whose first block is the oldest of all; null where there is none.
  std::deque<Cached>* oldest();

  std::vector<std::deque<Cached>> cached_;  // by size class, each the oldest first
  MemoryUsage usage_;
  uint64_t frees_ = 0;
  uint64_t frees_earlier_ = 0, frees_recent_ = 0;  // when the second before this one began, and when this one did
  int64_t peak_earlier_ = 0, peak_recent_ = 0;     // the most in use in them
  Clock::time_point second_began_ = Clock::now();
};

}  // namespace fw
