// Nothing of what JavaScript gives is taken that does not end among its numbers.
#include "kept_calls.h"

#include <algorithm>
#include <stdexcept>
#include <type_traits>

#include "schema.h"

namespace fw {
namespace {

// Of the fields of a kernel, without the operands of lists: a call that is shorter must not be read past the end.
constexpr size_t kMostDoubles = 1024;

template <class Number>
void write_numbers(Environment& environment, const double* at, int64_t count, uint64_t id, int64_t offset) {
  std::vector<Number> numbers(count);
  for (int64_t i = 0; i < count; i++) {
    const bool fits = !std::is_integral_v<Number> || (at[i] >= INT32_MIN && at[i] <= INT32_MAX);
    if (!fits) throw std::out_of_range("a number of more than 32 bits");
    numbers[i] = static_cast<Number>(at[i]);
  }
  environment.write(id, offset, numbers.data(), count * int64_t(sizeof(Number)));
}

void write_again(Environment& environment, const double* command, int64_t doubles) {
  constexpr int64_t kHead = 3;
  constexpr double kMost = 0x1p53;
  if (doubles < kHead || !(command[0] >= 0 && command[0] < kMost && command[1] >= 0 && command[1] < kMost)) {
    throw std::out_of_range("no such command");
  }
  const auto write = command[2] == 0 ? write_numbers<int32_t> : write_numbers<float>;
  write(environment, command + kHead, doubles - kHead, static_cast<uint64_t>(command[0]), static_cast<int64_t>(command[1]));
}

}  // namespace

KeptCalls::KeptCalls(std::vector<int32_t> kernels, std::vector<int32_t> ends, std::vector<double> commands, Growth growth)
    : kernels_(std::move(kernels)), ends_(std::move(ends)), commands_(std::move(commands)), growth_(std::move(growth)) {
  if (ends_.size() != kernels_.size()) throw std::invalid_argument("an end for each call is needed");
  for (size_t i = 0; i < count(); i++) {
    if (kernels_[i] < kWrite || kernels_[i] >= kKernelCount) throw std::out_of_range("no such kernel");
    if (ends_[i] < begin(i) || size_t(ends_[i]) > commands_.size()) throw std::out_of_range("no such command");
  }
  const std::vector<int32_t>& at = growth_.at;
  const bool known = std::all_of(at.begin(), at.end(), [&](int32_t i) { return i >= 0 && size_t(i) < commands_.size(); });
  if (!known || !std::is_sorted(at.begin(), at.end()) || growth_.from.size() != at.size() || growth_.by.size() != at.size()) {
    throw std::invalid_argument("numbers that grow are among those of commands, in their order");
  }
  commands_.resize(commands_.size() + kMostDoubles);
}

bool KeptCalls::grows(size_t i) const {
  const auto found = std::lower_bound(growth_.at.begin(), growth_.at.end(), begin(i));
  return found != growth_.at.end() && *found < ends_[i];
}

void KeptCalls::advance(double runs) {
  for (size_t i = 0; i < growth_.at.size(); i++) commands_[growth_.at[i]] = growth_.from[i] + runs * growth_.by[i];
}

void KeptCalls::launch(Environment& environment, size_t i) const {
  const double* const command = commands_.data() + begin(i);
  const int64_t doubles = ends_[i] - begin(i);
  if (kernels_[i] == kWrite) write_again(environment, command, doubles);
  else kKernels[kernels_[i]].launch(environment, command, doubles);
}

}  // namespace fw
