// The addon's data in one JavaScript environment, and what a device adds to the functions that all of them have.
#pragma once
#include <napi.h>

#include "environment.h"  // of the device: see the include path of the target
#include "promises.h"

namespace fw {

struct Instance {
  explicit Instance(Napi::Env env);

  Promises promises;
  Environment environment;
  double* command;
  Napi::Reference<Napi::ArrayBuffer> command_buffer;
};

inline Instance& instance_of(const Napi::CallbackInfo& info) { return *static_cast<Instance*>(info.Data()); }
inline Environment& environment_of(const Napi::CallbackInfo& info) { return instance_of(info).environment; }
inline int64_t whole(const Napi::Value& value) { return value.As<Napi::Number>().Int64Value(); }

// Defined by each device.
void add_device_functions(Napi::Object exports, Instance& instance);

template <class Function>
void add_function(Napi::Object exports, Instance& instance, const char* name, Function function) {
  exports[name] = Napi::Function::New(exports.Env(), function, name, &instance);
}

}  // namespace fw
