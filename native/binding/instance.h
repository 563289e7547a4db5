// The addon's data in one JavaScript environment, and what a device adds to the functions that all of them have.
#pragma once
#include <napi.h>

#include <cmath>
#include <memory>
#include <stdexcept>
#include <unordered_map>
#include <vector>

#include "environment.h"  // of the device: see the include path of the target
#include "errors.h"
#include "kept_calls.h"
#include "promises.h"

namespace fw {

struct Instance {
  // `of` chooses among a device's several, where it has several.
  template <class... Of>
  explicit Instance(Napi::Env env, Of... of) : promises(env), environment(of...) {
    open(env);
  }

  Promises promises;
  Environment environment;
  double* command;
  Napi::Reference<Napi::ArrayBuffer> command_buffer;
  // By the numbers that JavaScript knows them by; no number serves twice.
  std::unordered_map<uint64_t, KeptCalls> kept;
  uint64_t calls_kept = 0;

 private:
  void open(Napi::Env env);
};

// Those of one JavaScript environment; the addon's own is the first.
using Instances = std::vector<std::unique_ptr<Instance>>;
inline Instances& instances_of(Napi::Env env) { return *env.GetInstanceData<Instances>(); }

inline Instance& instance_of(const Napi::CallbackInfo& info) { return *static_cast<Instance*>(info.Data()); }
inline Environment& environment_of(const Napi::CallbackInfo& info) { return instance_of(info).environment; }
inline int64_t whole(const Napi::Value& value) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : NAN;
  if (!(number > -9007199254740992.0 && number < 9007199254740992.0)) throw std::invalid_argument("a number is needed");
  return static_cast<int64_t>(number);
}

// Adds the functions that every device has, and the command array.
void add_common_functions(Napi::Object object, Instance& instance);
// Defined by each device: what its addon has beside them.
void add_device_functions(Napi::Object exports, Instance& instance);

// What the function throws becomes a JavaScript error with its code.
template <class Function>
void add_function(Napi::Object exports, Instance& instance, const char* name, Function function) {
  const auto guarded = [function](const Napi::CallbackInfo& info) {
    try {
      return function(info);
    } catch (const Napi::Error&) {
      throw;
    } catch (const std::exception&) {
      throw Napi::Error(info.Env(), error_value(info.Env(), std::current_exception()));
    }
  };
  exports[name] = Napi::Function::New(exports.Env(), guarded, name, &instance);
}

}  // namespace fw
