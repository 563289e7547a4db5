// Size classes and free lists.
#include "allocator.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "../../cpu/redzone.h"

namespace fw {
namespace {

constexpr int64_t kAlign = 64;
constexpr int64_t kHugePage = 2 << 20;
constexpr int64_t kTrimmed = 8 << 20;
constexpr int64_t kMaxBytes = int64_t(1) << 46;
// Blocks of this size are mapped. AddressSanitizer is to see all of them, and puts memory that nothing may touch between.
constexpr int64_t kMapped = kRedZones ? kMaxBytes : kHugePage;

constexpr int kClassesPerPower = 8;

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

// What may lie in the cache beside what the program needs: sixteen sizes in turn are one block in use and sixteen here.
int64_t slack() {
  static const int64_t bytes = [] {
    const int64_t memory = static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
    return std::clamp<int64_t>(memory / 16, 64 << 20, 1 << 30);
  }();
  return bytes;
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

// The block freed last is the likeliest to be in the processor's caches.
char* Allocator::take(int size_class) {
  if (static_cast<size_t>(size_class) >= cached_.size() || cached_[size_class].empty()) return nullptr;
  char* const data = cached_[size_class].back().data;
  cached_[size_class].pop_back();
  usage_.cached -= class_bytes(size_class);
  return data;
}

Block Allocator::allocate(int64_t bytes) {
  if (bytes > kMaxBytes) return {nullptr, 0};
  const int smallest = class_of(bytes);
  // To map and clear a large block takes longer than to fill it: one of up to twice the size will do.
  const int largest = bytes >= kMapped ? smallest + kClassesPerPower : smallest;
  int size_class = smallest;
  char* data = take(size_class);
  while (!data && size_class < largest) data = take(++size_class);
  if (!data) data = obtain(class_bytes(size_class = smallest));
  if (!data) return {nullptr, 0};
  const int64_t capacity = class_bytes(size_class);
  usage_.live += capacity;
  if (usage_.live > usage_.peak) usage_.peak = usage_.live;
  if (usage_.live > peak_recent_) peak_recent_ = usage_.live;
  return {data, capacity};
}

void Allocator::free(Block block) {
  const size_t size_class = class_of(block.bytes);
  if (cached_.size() <= size_class) cached_.resize(size_class + 1);
  cached_[size_class].push_back({block.data, frees_++});
  usage_.live -= block.bytes;
  usage_.cached += block.bytes;
}

bool Allocator::age() {
  const Clock::time_point now = Clock::now();
  if (now - second_began_ < std::chrono::seconds(1)) return false;
  const bool next = now - second_began_ < std::chrono::seconds(2);
  peak_earlier_ = next ? peak_recent_ : usage_.live;
  peak_recent_ = usage_.live;
  frees_earlier_ = next ? frees_recent_ : frees_;
  frees_recent_ = frees_;
  second_began_ = now;
  return true;
}

bool Allocator::over_limit() const {
  const int64_t needed = std::max(peak_earlier_, peak_recent_);
  return usage_.live + usage_.cached > needed + needed / 4 + slack();
}

std::deque<Allocator::Cached>* Allocator::oldest() {
  std::deque<Cached>* found = nullptr;
  for (std::deque<Cached>& list : cached_) {
    if (!list.empty() && (!found || list.front().freed < found->front().freed)) found = &list;
  }
  return found;
}

std::vector<Block> Allocator::take_cached() {
  std::vector<Block> blocks;
  for (size_t size_class = 0; size_class < cached_.size(); size_class++) {
    while (char* const data = take(static_cast<int>(size_class))) {
      blocks.push_back({data, class_bytes(static_cast<int>(size_class))});
    }
  }
  return blocks;
}

std::vector<Block> Allocator::take_excess() {
  std::vector<Block> blocks;
  while (usage_.cached > kSpared) {
    std::deque<Cached>* const list = oldest();
    if (!list || (list->front().freed >= frees_earlier_ && !over_limit())) break;
    const int64_t bytes = class_bytes(static_cast<int>(list - cached_.data()));
    blocks.push_back({list->front().data, bytes});
    list->pop_front();
    usage_.cached -= bytes;
  }
  return blocks;
}

void Allocator::release(const std::vector<Block>& blocks) {
  int64_t small = 0;
  for (const Block& block : blocks) {
    if (block.bytes >= kMapped) {
      munmap(block.data, (block.bytes + 4095) / 4096 * 4096);
    } else {
      std::free(block.data);
      small += block.bytes;
    }
  }
#ifdef __GLIBC__
  // It keeps what it is given, but for the end of its heap.
  if (small > kTrimmed) malloc_trim(0);
#endif
}

}  // namespace fw
