// The Node-API surface that every device has. Blocks of memory are numbers; a kernel call is its arguments in the
// command array (see arguments.h) and then `submit(position of the kernel in the table)`.
#include <napi.h>

#include <type_traits>

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

struct Bytes {
  char* data;
  int64_t size;
};
Bytes bytes_of(const Napi::Value& value) {
  napi_typedarray_type type;
  size_t length = 0;
  void* data = nullptr;
  if (!value.IsTypedArray() ||
      napi_get_typedarray_info(value.Env(), value, &type, &length, &data, nullptr, nullptr) != napi_ok) {
    throw std::invalid_argument("a typed array is needed");
  }
  const Napi::TypedArray array = value.As<Napi::TypedArray>();
  return {static_cast<char*>(data), static_cast<int64_t>(length * array.ElementSize())};
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

// Stands in the place of a kernel where this thread wrote a few numbers: [block, byte offset, 1 for float32 or 0 for int32, the
// numbers].
constexpr int32_t kWrite = -1;

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

// Kernels, where the doubles of each end among those of all, and these: what `submit` does with one after the other.
napi_value submit_all(napi_env env, napi_callback_info info) {
  size_t count = 3;
  napi_value given[3];
  void* data;
  napi_get_cb_info(env, info, &count, given, nullptr, &data);
  Instance& instance = *static_cast<Instance*>(data);
  try {
    const auto numbers = [&](int i, napi_typedarray_type expected, size_t& length) {
      napi_typedarray_type type;
      void* at = nullptr;
      if (napi_get_typedarray_info(env, given[i], &type, &length, &at, nullptr, nullptr) != napi_ok || type != expected) {
        throw std::invalid_argument("typed arrays are needed");
      }
      return at;
    };
    size_t calls, given_ends, doubles;
    const int32_t* const kernels = static_cast<int32_t*>(numbers(0, napi_int32_array, calls));
    const int32_t* const ends = static_cast<int32_t*>(numbers(1, napi_int32_array, given_ends));
    const double* const commands = static_cast<double*>(numbers(2, napi_float64_array, doubles));
    if (given_ends != calls) throw std::invalid_argument("an end for each call is needed");
    for (size_t i = 0, begin = 0; i < calls; begin = ends[i++]) {
      if (kernels[i] < kWrite || kernels[i] >= kKernelCount) throw std::out_of_range("no such kernel");
      if (ends[i] < 0 || size_t(ends[i]) < begin || size_t(ends[i]) > doubles) throw std::out_of_range("no such command");
      const double* const command = commands + begin;
      const int64_t length = ends[i] - begin;
      if (kernels[i] == kWrite) write_again(instance.environment, command, length);
      else kKernels[kernels[i]].launch(instance.environment, command, length);
    }
  } catch (const std::exception&) {
    napi_throw(env, error_value(env, std::current_exception()));
  }
  return nullptr;
}

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
  add("synchronize", synchronize);
  add("trim", trim);
  add("settle", settle);
  add("reportExternal", report_external);
  add("memoryUsage", memory_usage);
  const auto add_plain = [&](const char* name, napi_callback function) {
    napi_value made;
    if (napi_create_function(env, name, NAPI_AUTO_LENGTH, function, &instance, &made) != napi_ok) {
      throw Napi::Error::New(env);
    }
    object[name] = Napi::Value(env, made);
  };
  add_plain("submit", submit);
  add_plain("submitAll", submit_all);
}

}  // namespace fw

static Napi::Object init_addon(Napi::Env env, Napi::Object exports) { return fw::init(env, exports); }
NODE_API_MODULE(fast_weights, init_addon)
