// The Node-API surface of the CPU device. Blocks of memory are numbers; a kernel call is its arguments in the
// command array (see arguments.h) and then `submit(position of the kernel in the table)`.
#include <napi.h>

#include <cstring>

#include "../cpu/cores.h"
#include "environment.h"
#include "instruction_sets.h"
#include "peak.h"
#include "promises.h"
#include "schema.h"

namespace fw {
namespace {

constexpr size_t kCommandDoubles = 16384;
// Copies up to this size happen at once when nothing is queued.
constexpr int64_t kInlineCopy = 1 << 20;

// The addon's data in one JavaScript environment.
struct Instance {
  explicit Instance(Napi::Env env) : promises(env) {
    Napi::ArrayBuffer buffer = Napi::ArrayBuffer::New(env, kCommandDoubles * sizeof(double));
    command = static_cast<double*>(buffer.Data());
    command_buffer = Napi::Persistent(buffer);
    napi_add_env_cleanup_hook(env, [](void* self) { static_cast<Instance*>(self)->close(); }, this);
  }

  void close() {
    environment.close();
    promises.close();
  }

  Promises promises;
  Environment environment;
  double* command;
  Napi::Reference<Napi::ArrayBuffer> command_buffer;
};

Instance& instance_of(const Napi::CallbackInfo& info) { return *static_cast<Instance*>(info.Data()); }
Environment& environment_of(const Napi::CallbackInfo& info) { return instance_of(info).environment; }

int64_t whole(const Napi::Value& value) { return value.As<Napi::Number>().Int64Value(); }
uint64_t id_of(const Napi::Value& value) { return static_cast<uint64_t>(whole(value)); }

struct Bytes {
  char* data;
  int64_t size;
};
Bytes bytes_of(const Napi::Value& value) {
  if (!value.IsTypedArray()) throw std::invalid_argument("a typed array is needed");
  Napi::TypedArray array = value.As<Napi::TypedArray>();
  return {static_cast<char*>(array.ArrayBuffer().Data()) + array.ByteOffset(), static_cast<int64_t>(array.ByteLength())};
}

Napi::Value allocate(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(environment_of(info).allocate(whole(info[0]))));
}

void free_block(const Napi::CallbackInfo& info) { environment_of(info).memory().free(id_of(info[0])); }

void write(const Napi::CallbackInfo& info) {
  const Bytes from = bytes_of(info[2]);
  environment_of(info).write(id_of(info[0]), whole(info[1]), from.data, from.size);
}

void read(const Napi::CallbackInfo& info) {
  const Bytes to = bytes_of(info[2]);
  environment_of(info).read(id_of(info[0]), whole(info[1]), to.data, to.size);
}

Napi::Value read_async(const Napi::CallbackInfo& info) {
  Instance& instance = instance_of(info);
  Queue& queue = instance.environment.queue();
  const Bytes to = bytes_of(info[2]);
  const char* const from = instance.environment.range(id_of(info[0]), whole(info[1]), to.size);
  const auto copy = [to, from] {
    if (to.size > 0) std::memcpy(to.data, from, to.size);
  };
  if (!queue.idle() || to.size > kInlineCopy) return instance.promises.after(info.Env(), queue, info[2], copy);
  copy();
  return instance.promises.settled(info.Env(), queue.take_failure());
}

Napi::Value synchronize(const Napi::CallbackInfo& info) {
  Instance& instance = instance_of(info);
  Queue& queue = instance.environment.queue();
  if (queue.idle()) return instance.promises.settled(info.Env(), queue.take_failure());
  return instance.promises.after(info.Env(), queue, info.Env().Undefined(), [] {});
}

// Called for every kernel, so on the plain C interface.
napi_value submit(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value argument;
  void* data;
  int32_t kernel = -1;
  napi_get_cb_info(env, info, &count, &argument, nullptr, &data);
  napi_get_value_int32(env, argument, &kernel);
  Instance& instance = *static_cast<Instance*>(data);
  try {
    if (kernel < 0 || kernel >= kKernelCount) throw std::out_of_range("no such kernel");
    kKernels[kernel].launch(instance.environment, instance.command, kCommandDoubles);
  } catch (const std::exception& error) {
    napi_throw_error(env, nullptr, error.what());
  }
  return nullptr;
}

void use_instruction_set(const Napi::CallbackInfo& info) {
  environment_of(info).use_instruction_set(info[0].As<Napi::String>().Utf8Value());
}

Napi::Value instruction_set(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), environment_of(info).instruction_set());
}

void set_threads(const Napi::CallbackInfo& info) { set_num_threads(static_cast<int>(whole(info[0]))); }

Napi::Value threads(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), num_threads()); }

Napi::Value granted_cores(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), cgroup_cores(info[0].As<Napi::String>().Utf8Value()));
}

Napi::Value measure_flops(const Napi::CallbackInfo& info) {
  Environment& environment = environment_of(info);
  environment.queue().drain();
  return Napi::Number::New(info.Env(), peak_flops(environment.instruction_set()));
}

Napi::Value measure_copy(const Napi::CallbackInfo& info) {
  environment_of(info).queue().drain();
  return Napi::Number::New(info.Env(), copy_bandwidth(whole(info[0])));
}

void trim(const Napi::CallbackInfo& info) { environment_of(info).trim(); }

Napi::Value memory_usage(const Napi::CallbackInfo& info) {
  const MemoryUsage& usage = environment_of(info).memory().usage();
  Napi::Object report = Napi::Object::New(info.Env());
  report["live"] = static_cast<double>(usage.live);
  report["peak"] = static_cast<double>(usage.peak);
  report["cached"] = static_cast<double>(usage.cached);
  return report;
}

Napi::Array supported_sets(Napi::Env env) {
  Napi::Array names = Napi::Array::New(env);
  for (const InstructionSet& set : instruction_sets()) {
    if (set.supported) names[names.Length()] = set.name;
  }
  return names;
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  Instance* const instance = new Instance(env);
  env.SetInstanceData(instance);
  exports["abi"] = kAbiVersion;
  exports["kernels"] = describe_kernels(env);
  exports["command"] = Napi::Float64Array::New(env, kCommandDoubles, instance->command_buffer.Value(), 0);
  exports["instructionSets"] = supported_sets(env);

  const auto add = [&](const char* name, auto function) {
    exports[name] = Napi::Function::New(env, function, name, instance);
  };
  add("allocate", allocate);
  add("free", free_block);
  add("write", write);
  add("read", read);
  add("readAsync", read_async);
  add("synchronize", synchronize);
  add("useInstructionSet", use_instruction_set);
  add("instructionSet", instruction_set);
  add("setNumThreads", set_threads);
  add("numThreads", threads);
  add("cgroupCores", granted_cores);
  add("peakFlops", measure_flops);
  add("copyBandwidth", measure_copy);
  add("trim", trim);
  add("memoryUsage", memory_usage);
  napi_value submit_function;
  if (napi_create_function(env, "submit", NAPI_AUTO_LENGTH, submit, instance, &submit_function) != napi_ok) {
    throw Napi::Error::New(env);
  }
  exports["submit"] = Napi::Value(env, submit_function);
  return exports;
}

}  // namespace
}  // namespace fw

static Napi::Object init_addon(Napi::Env env, Napi::Object exports) { return fw::init(env, exports); }
NODE_API_MODULE(fast_weights, init_addon)
