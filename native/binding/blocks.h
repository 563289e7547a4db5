// The blocks of device memory that one environment holds, known to JavaScript by numbers. A number is never used twice
// while 2^24 others of its place lie between, so that a stale one is found out.
#pragma once
#include <cstdint>
#include <vector>

namespace fw {

struct Block {
  char* data;
  int64_t bytes;     // capacity
  int64_t size = 0;  // what was asked for, and all that may be touched
};

class Blocks {
 public:
  // A number that fits a double.
  uint64_t add(Block block);
  // Throws std::invalid_argument for a number that names no live block.
  const Block& find(uint64_t id) const {
    if (!live(id)) refuse(id);
    return entries_[id & kIndexMask].block;
  }
  bool live(uint64_t id) const {
    const uint64_t index = id & kIndexMask;
    return index < entries_.size() && entries_[index].live && entries_[index].generation == id >> kIndexBits;
  }
  // The memory of a live block from `offset` on. Throws std::out_of_range when `bytes` do not fit there.
  char* range(uint64_t id, int64_t offset, int64_t bytes) const;
  // Forgets the block and returns it.
  Block remove(uint64_t id);
  std::vector<Block> remove_all();

 private:
  struct Entry {
    Block block;
    uint64_t generation;
    bool live;
  };

  static constexpr int kIndexBits = 28;
  static constexpr uint64_t kIndexMask = (uint64_t(1) << kIndexBits) - 1;

  [[noreturn]] static void refuse(uint64_t id);

  std::vector<Entry> entries_;
  std::vector<uint32_t> vacant_;
};

}  // namespace fw
