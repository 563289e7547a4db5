// Failures that the TypeScript layer must tell apart: they carry its error codes, and what its errors say beside them.
#pragma once
#include <node_api.h>

#include <exception>
#include <stdexcept>
#include <string>

namespace fw {

class CodedError : public std::runtime_error {
 public:
  CodedError(const char* code, const std::string& message) : std::runtime_error(message), code(code) {}
  const char* const code;
  std::string argument, expected, found;  // empty where there is nothing to say
};

class OutOfMemory : public CodedError {
 public:
  explicit OutOfMemory(const std::string& message) : CodedError("OUT_OF_MEMORY", message) {}
};

// An index outside its table: `value` at `position` among those of an argument, of which `limit` are there.
CodedError bad_index(const char* kernel, const char* argument, int64_t position, int64_t value, int64_t limit);

// The JavaScript error for a C++ exception. Statuses are ignored: while a worker is being terminated these calls fail, and
// a C++ exception would end the process.
napi_value error_value(napi_env env, const std::exception_ptr& failure);

}  // namespace fw
