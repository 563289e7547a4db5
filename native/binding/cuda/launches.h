// The last launches of a card, to be named when it fails: its errors come long after their cause.
#pragma once
#include <cstring>
#include <string>

#include "../../kernels.h"

namespace fw {

// The sizes among a kernel's arguments, " tokens=64 heads=4".
inline void describe_field(std::string& text, const char* name, const Int& n) {
  text += std::string(" ") + name + "=" + std::to_string(n);
}
inline void describe_field(std::string& text, const char* name, const Dims& dims) {
  text += std::string(" ") + name + "=";
  for (int64_t i = 0; i < dims.rank; i++) text += (i ? "x" : "") + std::to_string(dims[i]);
}
template <class Operand>
void describe_field(std::string&, const char*, const Operand&) {}

#define FW_DESCRIBE_FIELD(kind, field) describe_field(text, #field, args.field);
#define FW_DESCRIBE(kernel)                               \
  inline std::string describe(const kernel##Args& args) { \
    std::string text = #kernel;                           \
    FW_FIELDS_##kernel(FW_DESCRIBE_FIELD) return text;    \
  }
FW_KERNELS(FW_DESCRIBE)
#undef FW_DESCRIBE
#undef FW_DESCRIBE_FIELD

class Launches {
 public:
  template <class Args>
  void add(const Args& args) {
    static_assert(sizeof(Args) <= kBytes, "arguments");
    Launch& launch = launches_[count_++ % kKept];
    std::memcpy(launch.args, &args, sizeof args);
    launch.describe = [](const void* data) { return describe(*static_cast<const Args*>(data)); };
  }

  // The latest first, separated by semicolons.
  std::string text() const {
    std::string text;
    for (uint64_t i = count_; i > 0 && count_ - i < kKept; i--) {
      const Launch& launch = launches_[(i - 1) % kKept];
      text += (text.empty() ? "" : "; ") + launch.describe(launch.args);
    }
    return text;
  }

 private:
  static constexpr uint64_t kKept = 16;
  static constexpr size_t kBytes = 1024;
  struct Launch {
    std::string (*describe)(const void* args);
    alignas(8) unsigned char args[kBytes];
  };
  Launch launches_[kKept];
  uint64_t count_ = 0;
};

}  // namespace fw
