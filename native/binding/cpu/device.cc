// What the CPU offers beside its kernels: instruction sets, threads, and the measured limits of the processor.
#include "../../cpu/cores.h"
#include "../instance.h"
#include "instruction_sets.h"
#include "peak.h"

namespace fw {
namespace {

void use_instruction_set(const Napi::CallbackInfo& info) {
  environment_of(info).use_instruction_set(info[0].As<Napi::String>().Utf8Value());
}

Napi::Value instruction_set(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), environment_of(info).instruction_set());
}

void set_threads(const Napi::CallbackInfo& info) {
  const int64_t n = whole(info[0]);
  if (n < 1 || n > 1024) throw std::invalid_argument("threads must be from 1 to 1024");
  set_num_threads(static_cast<int>(n));
}

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

Napi::Value measure_read(const Napi::CallbackInfo& info) {
  environment_of(info).queue().drain();
  return Napi::Number::New(info.Env(), read_bandwidth(whole(info[0])));
}

Napi::Array supported_sets(Napi::Env env) {
  Napi::Array names = Napi::Array::New(env);
  for (const InstructionSet& set : instruction_sets()) {
    if (set.supported) names[names.Length()] = set.name;
  }
  return names;
}

}  // namespace

void add_device_functions(Napi::Object exports, Instance& instance) {
  exports["instructionSets"] = supported_sets(exports.Env());
  const auto add = [&](const char* name, auto function) { add_function(exports, instance, name, function); };
  add("useInstructionSet", use_instruction_set);
  add("instructionSet", instruction_set);
  add("setNumThreads", set_threads);
  add("numThreads", threads);
  add("cgroupCores", granted_cores);
  add("peakFlops", measure_flops);
  add("copyBandwidth", measure_copy);
  add("readBandwidth", measure_read);
}

}  // namespace fw
