// The Node-API surface that every device has. Blocks of memory are numbers; a kernel call is its arguments in the
// command array (see arguments.h) and then `submit(position of the kernel in the table)`.
#include <napi.h>

#include "errors.h"
#include "instance.h"
#include "schema.h"

namespace fw {
namespace {

constexpr size_t kCommandDoubles = 16384;

}  // namespace

void Instance::open(Napi::Env env) {
  Napi::ArrayBuffer buffer = Napi::ArrayBuffer::New(env, kCommandDoubles * sizeof(double));
  command = static_cast<double*>(buffer.Data());
  command_buffer = Napi::Persistent(buffer);
  const auto close = [](void* data) {
    Instance& self = *static_cast<Instance*>(data);
    self.environment.close();
    self.promises.close();
  };
  napi_add_env_cleanup_hook(env, close, this);
}

namespace {

uint64_t id_of(const Napi::Value& value) { return static_cast<uint64_t>(whole(value)); }

struct Elements {
  napi_typedarray_type type;
  size_t count;
  void* data;
};
Elements elements_of(const Napi::Value& value) {
  Elements all{};
  if (!value.IsTypedArray() || napi_get_typedarray_info(value.Env(), value, &all.type, &all.count, &all.data, nullptr,
                                                        nullptr) != napi_ok) {
    throw std::invalid_argument("a typed array is needed");
  }
  return all;
}

struct Bytes {
  char* data;
  int64_t size;
};
Bytes bytes_of(const Napi::Value& value) {
  const Elements all = elements_of(value);
  return {static_cast<char*>(all.data), static_cast<int64_t>(all.count * value.As<Napi::TypedArray>().ElementSize())};
}

template <class T, napi_typedarray_type type>
std::vector<T> numbers_of(const Napi::Value& value) {
  const Elements all = elements_of(value);
  if (all.type != type) throw std::invalid_argument("a typed array of another kind is needed");
  return {static_cast<T*>(all.data), static_cast<T*>(all.data) + all.count};
}

Napi::Value allocate(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(environment_of(info).allocate(whole(info[0]))));
}

Napi::Value free_block(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), environment_of(info).free(id_of(info[0])));
}

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
  const Bytes to = bytes_of(info[2]);
  return instance.environment.read_async(info[2], instance.promises, id_of(info[0]), whole(info[1]), to.data, to.size);
}

Napi::Value synchronize(const Napi::CallbackInfo& info) {
  Instance& instance = instance_of(info);
  return instance.environment.synchronize(info.Env(), instance.promises);
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
  } catch (const std::exception&) {
    napi_throw(env, error_value(env, std::current_exception()));
  }
  return nullptr;
}

// (kernels, ends, commands, at, from, by) -> the number of these calls: see kept_calls.h.
Napi::Value keep_calls(const Napi::CallbackInfo& info) {
  Instance& instance = instance_of(info);
  const auto whole_numbers = [&](int i) { return numbers_of<int32_t, napi_int32_array>(info[i]); };
  const auto doubles = [&](int i) { return numbers_of<double, napi_float64_array>(info[i]); };
  KeptCalls::Growth growth{whole_numbers(3), doubles(4), doubles(5)};
  instance.kept.emplace(++instance.calls_kept,
                        KeptCalls(whole_numbers(0), whole_numbers(1), doubles(2), std::move(growth)));
  return Napi::Number::New(info.Env(), static_cast<double>(instance.calls_kept));
}

// (number, runs)
void repeat_calls(const Napi::CallbackInfo& info) {
  Instance& instance = instance_of(info);
  const auto found = instance.kept.find(id_of(info[0]));
  if (found == instance.kept.end()) throw std::invalid_argument("no calls with this number are kept");
  found->second.advance(static_cast<double>(whole(info[1])));
  instance.environment.repeat(found->second);
}

void forget_calls(const Napi::CallbackInfo& info) { instance_of(info).kept.erase(id_of(info[0])); }

void trim(const Napi::CallbackInfo& info) { environment_of(info).trim(); }

Napi::Value settle(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), environment_of(info).settle());
}

void report_external(const Napi::CallbackInfo& info) {
  Napi::MemoryManagement::AdjustExternalMemory(info.Env(), whole(info[0]));
}

Napi::Value memory_usage(const Napi::CallbackInfo& info) {
  Napi::Object report = Napi::Object::New(info.Env());
  environment_of(info).report_memory(report);
  return report;
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  Instances* const instances = new Instances;
  env.SetInstanceData(instances);
  instances->push_back(std::make_unique<Instance>(env));
  exports["abi"] = kAbiVersion;
  exports["kernels"] = describe_kernels(env);
  add_common_functions(exports, *instances->front());
  add_device_functions(exports, *instances->front());
  return exports;
}

}  // namespace

void add_common_functions(Napi::Object object, Instance& instance) {
  const Napi::Env env = object.Env();
  object["command"] = Napi::Float64Array::New(env, kCommandDoubles, instance.command_buffer.Value(), 0);
  const auto add = [&](const char* name, auto function) { add_function(object, instance, name, function); };
  add("allocate", allocate);
  add("free", free_block);
  add("write", write);
  add("read", read);
  add("readAsync", read_async);
  add("keepCalls", keep_calls);
  add("repeatCalls", repeat_calls);
  add("forgetCalls", forget_calls);
  add("synchronize", synchronize);
  add("trim", trim);
  add("settle", settle);
  add("reportExternal", report_external);
  add("memoryUsage", memory_usage);
  napi_value made;
  if (napi_create_function(env, "submit", NAPI_AUTO_LENGTH, submit, &instance, &made) != napi_ok) throw Napi::Error::New(env);
  object["submit"] = Napi::Value(env, made);
}

}  // namespace fw

static Napi::Object init_addon(Napi::Env env, Napi::Object exports) { return fw::init(env, exports); }
NODE_API_MODULE(fast_weights, init_addon)
