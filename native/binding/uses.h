// Which blocks a kernel call reads and writes: what a failure follows.
#pragma once
#include <cstdint>
#include <vector>

namespace fw {

struct Use {
  uint64_t id;
  bool read, written;
  bool whole;  // every byte of the block is written
};

// Most calls have few operands and need no memory for this.
class Uses {
 public:
  void add(const Use& use, bool empty) {
    writes_ = writes_ || (use.written && !empty);
    if (count_ < kNear) near_[count_++] = use;
    else far_.push_back(use);
  }

  // Whether there is an element to write.
  bool writes() const { return writes_; }

  // Of a call that leaves gaps in what it writes.
  void leave_gaps() {
    for (int i = 0; i < count_; i++) near_[i].whole = false;
  }

  std::vector<Use> list() const {
    std::vector<Use> all(near_, near_ + count_);
    all.insert(all.end(), far_.begin(), far_.end());
    return all;
  }

  template <class Visit>
  void each(const Visit& visit) const {
    for (int i = 0; i < count_; i++) visit(near_[i]);
    for (const Use& use : far_) visit(use);
  }

 private:
  static constexpr int kNear = 32;
  Use near_[kNear];
  int count_ = 0;
  bool writes_ = false;
  std::vector<Use> far_;
};

}  // namespace fw
