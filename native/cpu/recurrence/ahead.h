// Memory that will be needed soon, brought into a cache while something else is computed.
#pragma once
#include "../vec.h"

FW_NAMESPACE_BEGIN

// Which cache, as __builtin_prefetch counts them. On a Zen 5 backward passes with AVX2 take up to 20 % longer when it
// is the second, with AVX-512 1 % longer when it is the first.
constexpr int kFetchTo = kLanes == 8 ? 3 : 2;

// Four lines at a time: a loop of single ones would run on beyond the row whenever its end is not foreseen, and fetch
// what nobody needs.
FW_INLINE void prefetch_row(const float* row, int64_t n) {
  int64_t i = 0;
  for (; i + 64 <= n; i += 64) {
    __builtin_prefetch(row + i, 0, kFetchTo);
    __builtin_prefetch(row + i + 16, 0, kFetchTo);
    __builtin_prefetch(row + i + 32, 0, kFetchTo);
    __builtin_prefetch(row + i + 48, 0, kFetchTo);
  }
  for (; i < n; i += 16) __builtin_prefetch(row + i, 0, kFetchTo);
  __builtin_prefetch(row + n - 1, 0, kFetchTo);  // an unaligned row straddles one more line
}

// Rows as they fall due, a few at a time: many lines at once would hold up the loads of what is computed meanwhile, and
// take longer than there are lines on their way at a time.
class Ahead {
 public:
  // Rows of n > 0 elements.
  void add(const float* data, int64_t stride, int64_t rows, int64_t n) {
    if (data && rows > 0) blocks_[used_++] = {data, stride, rows, n};
  }

  // Says how much work, in any unit, there will be from now on: what was added is fetched in a little less than that.
  void spread(int64_t work) {
    int64_t lines = 1;
    for (int64_t i = 0; i < used_; i++) lines += blocks_[i].rows * blocks_[i].lines();
    pace_ = work / (lines + lines / 8);
    due_ = used_ ? pace_ : kNever;
  }

  // To be called after so much of it; fetches the rows that are due.
  __attribute__((always_inline)) void after(int64_t work) {
    if ((due_ -= work) <= 0) fetch();
  }

  // Fetches all that is left.
  void finish() {
    while (at_ < used_) fetch_row();
    at_ = used_ = 0, due_ = kNever;
  }

 private:
  static constexpr int64_t kLine = 16, kMostLines = 8, kNever = INT64_MAX / 2;
  struct Block {
    const float* data;
    int64_t stride, rows, n;
    int64_t lines() const { return (n + kLine - 1) / kLine; }
  };

  __attribute__((noinline)) void fetch() {
    for (int64_t lines = 0; lines < kMostLines && at_ < used_ && due_ <= 0;) lines += fetch_row();
    if (at_ == used_) due_ = kNever;
  }
  // How many lines it was.
  __attribute__((always_inline)) int64_t fetch_row() {
    Block& block = blocks_[at_];
    const int64_t lines = block.lines();
    prefetch_row(block.data, block.n);
    due_ += lines * pace_;
    block.data += block.stride;
    if (--block.rows == 0) at_++;
    return lines;
  }

  Block blocks_[16];
  int64_t used_ = 0, at_ = 0, due_ = kNever, pace_ = 1;
};

// One row per token, fetched as the tokens before pass by.
struct RowsAhead {
  struct Row {
    const float* data;
    int64_t stride, length;
  };
  Row rows[9];
  int count = 0;
  int64_t tokens = 0;
  void add(const float* data, int64_t stride, int64_t length) { rows[count++] = {data, stride, length}; }
  // Inlined by force: a call of a function that only prefetches counts as one without effect, and is dropped.
  __attribute__((always_inline)) void fetch(int64_t t) const {
    if (t >= tokens) return;
    for (int i = 0; i < count; i++) prefetch_row(rows[i].data + t * rows[i].stride, rows[i].length);
  }
};

FW_NAMESPACE_END
