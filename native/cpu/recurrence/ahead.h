// Memory that will be needed soon, brought into cache a row at a time while something else is computed: many lines at
// once would hold up that computation's own loads, and take longer than there are lines on their way at a time.
#pragma once
#include "../vec.h"

FW_NAMESPACE_BEGIN

class Ahead {
 public:
  // Rows of n > 0 elements.
  void add(const float* data, int64_t stride, int64_t rows, int64_t n) {
    if (data && rows > 0) blocks_[used_++] = {data, stride, rows, n};
  }

  // To be called after so many vector products.
  __attribute__((always_inline)) void fetch(int64_t products) {
    if (at_ == used_ || (due_ -= products) > 0) return;
    Block& block = blocks_[at_];
    for (int64_t i = 0; i < block.n; i += kLine) __builtin_prefetch(block.data + i, 0, 2);
    // A row that begins within a line may end in one more.
    if (reinterpret_cast<uintptr_t>(block.data) % 64 != 0) __builtin_prefetch(block.data + block.n - 1, 0, 2);
    due_ += (block.n + kLine - 1) / kLine * kProductsPerLine;
    block.data += block.stride;
    if (--block.rows == 0) at_++;
  }

  // Fetches all that is left.
  void finish() {
    while (at_ < used_) fetch(due_);
    at_ = used_ = due_ = 0;
  }

 private:
  static constexpr int64_t kLine = 16;
  // All that a chunk needs is fetched in a little less than its products.
  static constexpr int64_t kProductsPerLine = 56;
  struct Block {
    const float* data;
    int64_t stride, rows, n;
  };
  Block blocks_[16];
  int64_t used_ = 0, at_ = 0, due_ = 0;
};

FW_NAMESPACE_END
