// A table of entries with a list of vacant places.
#include "blocks.h"

#include <stdexcept>
#include <string>

namespace fw {
namespace {

constexpr uint64_t kMaxGeneration = (uint64_t(1) << 24) - 1;  // ids stay below 2^52

}  // namespace

uint64_t Blocks::add(Block block) {
  if (vacant_.empty()) {
    vacant_.push_back(static_cast<uint32_t>(entries_.size()));
    entries_.push_back({{nullptr, 0}, 0, false});
  }
  const uint32_t index = vacant_.back();
  vacant_.pop_back();
  Entry& entry = entries_[index];
  entry = {block, entry.generation % kMaxGeneration + 1, true};
  return entry.generation << kIndexBits | index;
}

void Blocks::refuse(uint64_t id) {
  throw std::invalid_argument("no live block has the number " + std::to_string(id));
}

char* Blocks::range(uint64_t id, int64_t offset, int64_t bytes) const {
  const Block& block = find(id);
  if (offset < 0 || bytes < 0 || offset > block.size - bytes) {
    throw std::out_of_range(std::to_string(bytes) + " bytes from " + std::to_string(offset) + " on leave a block of " +
                            std::to_string(block.size));
  }
  return block.data + offset;
}

Block Blocks::remove(uint64_t id) {
  const Block block = find(id);
  const uint32_t index = static_cast<uint32_t>(id & kIndexMask);
  entries_[index].live = false;
  vacant_.push_back(index);
  return block;
}

std::vector<Block> Blocks::remove_all() {
  std::vector<Block> blocks;
  for (uint32_t index = 0; index < entries_.size(); index++) {
    if (!entries_[index].live) continue;
    blocks.push_back(entries_[index].block);
    entries_[index].live = false;
    vacant_.push_back(index);
  }
  return blocks;
}

}  // namespace fw
