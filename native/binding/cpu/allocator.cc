// Size classes and free lists.
#include "allocator.h"

#include <sys/mman.h>

#include <cstdlib>

#include "../../cpu/redzone.h"

namespace fw {
namespace {

constexpr int64_t kAlign = 64;
constexpr int64_t kHugePage = 2 << 20;
constexpr int64_t kMaxBytes = int64_t(1) << 46;
// Blocks of this size are mapped. AddressSanitizer is to see all of them, and puts memory that nothing may touch between.
constexpr int64_t kMapped = kRedZones ? kMaxBytes : kHugePage;

// Eight classes per power of two from 512 bytes on, every 64 bytes below.
int class_of(int64_t bytes) {
  const int64_t units = bytes <= kAlign ? 1 : (bytes + kAlign - 1) / kAlign;
  if (units <= 8) return static_cast<int>(units - 1);
  const int power = 63 - __builtin_clzll(static_cast<uint64_t>(units - 1));  // 2^power < units <= 2^(power + 1)
  return 8 + (power - 3) * 8 + static_cast<int>((units - 1 - (int64_t(1) << power)) >> (power - 3));
}

int64_t class_bytes(int size_class) {
  if (size_class < 8) return (size_class + 1) * kAlign;
  const int power = (size_class - 8) / 8 + 3, step = (size_class - 8) % 8;
  return ((int64_t(1) << power) + (int64_t(step + 1) << (power - 3))) * kAlign;
}

// Large blocks start at a huge page, so that the system can back them with huge pages.
char* map_large(int64_t bytes) {
  const size_t total = static_cast<size_t>(bytes + kHugePage);
  void* raw = mmap(nullptr, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (raw == MAP_FAILED) return nullptr;
  char* const begin = static_cast<char*>(raw);
  char* const data = begin + (-reinterpret_cast<uintptr_t>(begin) & (kHugePage - 1));
  if (data > begin) munmap(begin, data - begin);
  char* const end = data + (bytes + 4095) / 4096 * 4096;
  if (begin + total > end) munmap(end, begin + total - end);
#ifdef MADV_HUGEPAGE
  madvise(data, bytes, MADV_HUGEPAGE);
#endif
  return data;
}

char* obtain(int64_t bytes) {
  if (bytes >= kMapped) return map_large(bytes);
  void* data = nullptr;
  return posix_memalign(&data, kAlign, bytes) == 0 ? static_cast<char*>(data) : nullptr;
}

}  // namespace

Allocator::~Allocator() { release(take_cached()); }

Block Allocator::allocate(int64_t bytes) {
  if (bytes > kMaxBytes) return {nullptr, 0};
  const int size_class = class_of(bytes);
  const int64_t capacity = class_bytes(size_class);
  if (cached_.size() <= static_cast<size_t>(size_class)) cached_.resize(size_class + 1);
  char* data;
  std::vector<char*>& spare = cached_[size_class];
  if (!spare.empty()) {
    data = spare.back();
    spare.pop_back();
    usage_.cached -= capacity;
  } else {
    data = obtain(capacity);
    if (!data) return {nullptr, 0};
  }
  usage_.live += capacity;
  if (usage_.live > usage_.peak) usage_.peak = usage_.live;
  return {data, capacity};
}

void Allocator::free(Block block) {
  cached_[class_of(block.bytes)].push_back(block.data);
  usage_.live -= block.bytes;
  usage_.cached += block.bytes;
}

std::vector<Block> Allocator::take_cached() {
  std::vector<Block> blocks;
  for (size_t size_class = 0; size_class < cached_.size(); size_class++) {
    for (char* data : cached_[size_class]) blocks.push_back({data, class_bytes(static_cast<int>(size_class))});
    cached_[size_class].clear();
  }
  usage_.cached = 0;
  return blocks;
}

void Allocator::release(const std::vector<Block>& blocks) {
  for (const Block& block : blocks) {
    if (block.bytes >= kMapped) munmap(block.data, (block.bytes + 4095) / 4096 * 4096);
    else std::free(block.data);
  }
}

}  // namespace fw
