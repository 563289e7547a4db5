// From C++ exceptions to JavaScript's.
#include "errors.h"

#include <new>

namespace fw {
namespace {

napi_value text(napi_env env, const std::string& content) {
  napi_value value = nullptr;
  napi_create_string_utf8(env, content.c_str(), content.size(), &value);
  return value;
}

napi_value make_error(napi_env env, const char* code, const std::string& message) {
  napi_value value = nullptr;
  napi_create_error(env, code ? text(env, code) : nullptr, text(env, message), &value);
  return value;
}

void set(napi_env env, napi_value error, const char* name, const std::string& content) {
  if (!content.empty()) napi_set_named_property(env, error, name, text(env, content));
}

}  // namespace

CodedError bad_index(const char* kernel, const char* argument, int64_t position, int64_t value, int64_t limit) {
  const std::string expected = limit == 0 ? "none, the table being empty" : "from 0 to " + std::to_string(limit - 1);
  const std::string found = std::to_string(value) + " at position " + std::to_string(position);
  CodedError error("INVALID_ARGUMENT", std::string(kernel) + ": " + argument + " must be " + expected + ", got " + found);
  error.argument = argument;
  error.expected = expected;
  error.found = found;
  return error;
}

napi_value error_value(napi_env env, const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const CodedError& error) {
    const napi_value value = make_error(env, error.code, error.what());
    set(env, value, "argument", error.argument);
    set(env, value, "expected", error.expected);
    set(env, value, "found", error.found);
    return value;
  } catch (const std::bad_alloc&) {
    return make_error(env, "OUT_OF_MEMORY", "the system has no memory left");
  } catch (const std::exception& error) {
    return make_error(env, nullptr, error.what());
  } catch (...) {
    return make_error(env, nullptr, "an unknown failure");
  }
}

}  // namespace fw
