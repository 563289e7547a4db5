// Calls of kernels that are made again and again, as JavaScript gave them once.
#pragma once
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "schema.h"

namespace fw {

class KeptCalls {
 public:
  // Kernels, where the doubles of each end among those of all, and these: see arguments.h.
  KeptCalls(std::vector<int32_t> kernels, std::vector<int32_t> ends, std::vector<double> commands)
      : kernels_(std::move(kernels)), ends_(std::move(ends)), commands_(std::move(commands)) {
    if (ends_.size() != kernels_.size()) throw std::invalid_argument("an end for each call is needed");
    for (size_t i = 0; i < count(); i++) {
      if (kernels_[i] < 0 || kernels_[i] >= kKernelCount) throw std::out_of_range("no such kernel");
      if (ends_[i] < begin(i) || size_t(ends_[i]) > commands_.size()) throw std::out_of_range("no such command");
    }
    // A call that is shorter than its kernel's fields must not be read past the end.
    commands_.resize(commands_.size() + kMostDoubles);
  }

  size_t count() const { return kernels_.size(); }
  int32_t kernel(size_t i) const { return kernels_[i]; }
  // What `submit` does with one of them.
  void launch(Environment& environment, size_t i) const {
    kKernels[kernels_[i]].launch(environment, commands_.data() + begin(i), ends_[i] - begin(i));
  }

  // What the device keeps of them.
  Repeated repeated;

 private:
  // Of the fields of a kernel, without the operands of lists.
  static constexpr size_t kMostDoubles = 1024;

  int32_t begin(size_t i) const { return i > 0 ? ends_[i - 1] : 0; }

  std::vector<int32_t> kernels_, ends_;
  std::vector<double> commands_;
};

}  // namespace fw
