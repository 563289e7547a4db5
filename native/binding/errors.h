// Failures that the TypeScript layer must tell apart: they carry its error codes.
#pragma once
#include <stdexcept>
#include <string>

namespace fw {

class OutOfMemory : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// What napi_throw_error gets as the code; null for everything else.
inline const char* code_of(const std::exception& error) {
  return dynamic_cast<const OutOfMemory*>(&error) ? "OUT_OF_MEMORY" : nullptr;
}

}  // namespace fw
