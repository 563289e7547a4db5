// Device memory of one environment: blocks aligned to 64 bytes, known to JavaScript by numbers, kept in free lists by
// size. Because kernels of an environment run in the order of its queue, a freed block may serve again at once.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace fw {

struct MemoryUsage {
  int64_t live = 0, peak = 0, cached = 0;
};

class Allocator {
 public:
  struct Block {
    char* data;
    int64_t bytes;  // capacity
  };

  Allocator() = default;
  Allocator(const Allocator&) = delete;
  ~Allocator();

  // A number that fits a double, or 0 when the system has no memory left.
  uint64_t allocate(int64_t bytes);
  void free(uint64_t id);
  // Throws std::invalid_argument for a number that names no live block.
  const Block& find(uint64_t id) const;

  // Hands over the cached blocks; the caller returns them with `release` once nothing queued uses them.
  std::vector<Block> take_cached();
  static void release(const std::vector<Block>& blocks);

  // Whether the cache outgrew what the program ever had live at once.
  bool bloated() const { return usage_.live + usage_.cached > usage_.peak + usage_.peak / 4 + (64 << 20); }
  const MemoryUsage& usage() const { return usage_; }

 private:
  struct Entry {
    Block block;
    int size_class;
    uint64_t generation;
    bool live;
  };

  std::vector<Entry> entries_;
  std::vector<uint32_t> vacant_;
  std::vector<std::vector<char*>> cached_;
  MemoryUsage usage_;
};

}  // namespace fw
