// Failures that the TypeScript layer must tell apart: they carry its error codes.
#pragma once
#include <stdexcept>
#include <string>

namespace fw {

class CodedError : public std::runtime_error {
 public:
  CodedError(const char* code, const std::string& message) : std::runtime_error(message), code(code) {}
  const char* const code;
};

class OutOfMemory : public CodedError {
 public:
  explicit OutOfMemory(const std::string& message) : CodedError("OUT_OF_MEMORY", message) {}
};

}  // namespace fw
