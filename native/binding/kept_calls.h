// Calls of kernels that are made again and again, as JavaScript gave them once.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "environment.h"

namespace fw {

class KeptCalls {
 public:
  // In the place of a kernel: JavaScript wrote a few numbers. Its command is [block, byte offset, 1 for float32 or 0 for int32, the
  // numbers].
  static constexpr int32_t kWrite = -1;

  // Numbers of the commands that are others from run to run: where they stand, what they were, and by how much they grow.
  struct Growth {
    std::vector<int32_t> at;
    std::vector<double> from, by;
  };

  // Kernels, where the doubles of each command end among those of all, and these: see arguments.h.
  KeptCalls(std::vector<int32_t> kernels, std::vector<int32_t> ends, std::vector<double> commands, Growth growth);

  size_t count() const { return kernels_.size(); }
  int32_t kernel(size_t i) const { return kernels_[i]; }
  // Whether the command of a call has numbers that grow.
  bool grows(size_t i) const;
  // Sets the numbers to what they come to so many runs later.
  void advance(double runs);
  // What `submit` does with one of them.
  void launch(Environment& environment, size_t i) const;

  // What the device keeps of them.
  Repeated repeated;

 private:
  int32_t begin(size_t i) const { return i > 0 ? ends_[i - 1] : 0; }

  std::vector<int32_t> kernels_, ends_;
  std::vector<double> commands_;
  Growth growth_;
};

}  // namespace fw
