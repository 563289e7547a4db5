// What the emulated addon offers to tests beside the card's own functions: exports.emulation.
#include <dlfcn.h>

#include "../../native/binding/cuda/card.h"
#include "../../native/binding/cuda/emulated.h"
#include "control.h"
#include "record.h"

namespace fw {

struct RevivedCard {
  static void revive(Card& card) {
    emulation::revive();
    std::lock_guard<std::mutex> lock(card.mutex_);
    card.failure_.clear();
  }
};

namespace {

Napi::Value findings(const Napi::CallbackInfo& info) {
  Napi::Array list = Napi::Array::New(info.Env());
  for (const emulation::Finding& finding : emulation::take_findings()) {
    Napi::Object entry = Napi::Object::New(info.Env());
    entry["kind"] = finding.kind;
    entry["text"] = finding.text;
    entry["count"] = static_cast<double>(finding.count);
    list[list.Length()] = entry;
  }
  return list;
}

Napi::Value sites(const Napi::CallbackInfo& info) {
  Napi::Array list = Napi::Array::New(info.Env());
  for (const emulation::SiteInfo& site : emulation::sites()) {
    Napi::Object entry = Napi::Object::New(info.Env());
    entry["file"] = site.file;
    entry["line"] = site.line;
    entry["primitive"] = site.primitive;
    entry["canMute"] = site.can_mute;
    entry["reached"] = static_cast<double>(site.reached);
    list[list.Length()] = entry;
  }
  return list;
}

void mute(const Napi::CallbackInfo& info) {
  emulation::mute(info[0].As<Napi::Number>().Int32Value(), info[1].As<Napi::Boolean>().Value());
}

void set_seed(const Napi::CallbackInfo& info) {
  emulation::set_seed(static_cast<uint64_t>(info[0].As<Napi::Number>().Int64Value()));
}

void set_truncated_sums(const Napi::CallbackInfo& info) {
  emulation::set_truncated_sums(info[0].As<Napi::Boolean>().Value());
}

// After a launch that failed on the first card.
void revive(const Napi::CallbackInfo&) { RevivedCard::revive(Card::get(0)); }

Napi::Value launches(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(emulation::launches()));
}

Napi::Value graphs(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(emulation::graphs()));
}

Napi::Value pinned_bytes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(emulation::pinned_bytes()));
}

Napi::Value host_functions(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(emulation::host_functions()));
}

Napi::Value late_kernels(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(emulation::late_kernels()));
}

Napi::Value last_error(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), emulation::last_error());
}

void hold(const Napi::CallbackInfo& info) { emulation::hold(info[0].As<Napi::Number>().Int64Value()); }

// Launches that were recorded since the last call.
Napi::Value records(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Napi::Array list = Napi::Array::New(env);
  for (const emulation::Record& record : emulation::take_records()) {
    Napi::Object entry = Napi::Object::New(env);
    entry["kernel"] = record.kernel;
    entry["source"] = record.source;
    entry["blocks"] = static_cast<double>(record.blocks);
    entry["threads"] = record.threads;
    entry["sharedBytes"] = static_cast<double>(record.shared_bytes);
    entry["args"] = Napi::Buffer<unsigned char>::Copy(env, record.args.data(), record.args.size());
    Napi::Array buffers = Napi::Array::New(env);
    for (const emulation::Extent& buffer : record.buffers) {
      Napi::Object extent = Napi::Object::New(env);
      extent["begin"] = static_cast<double>(buffer.begin);
      extent["bytes"] = static_cast<double>(buffer.bytes);
      buffers[buffers.Length()] = extent;
    }
    entry["buffers"] = buffers;
    list[list.Length()] = entry;
  }
  return list;
}

// The emulated cuBLAS finds the emulated runtime in this addon, which Node.js has loaded for itself only.
void show_to_libraries() {
  Dl_info here;
  if (dladdr(reinterpret_cast<const void*>(&cudaLaunchHostFunc), &here) != 0) {
    dlopen(here.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_GLOBAL);
  }
}

}  // namespace

void add_emulation_functions(Napi::Object exports) {
  const Napi::Env env = exports.Env();
  Napi::Object functions = Napi::Object::New(env);
  const auto add = [&](const char* name, auto function) { functions[name] = Napi::Function::New(env, function, name); };
  add("findings", findings);
  add("sites", sites);
  add("mute", mute);
  add("setSeed", set_seed);
  add("setTruncatedSums", set_truncated_sums);
  add("revive", revive);
  add("launches", launches);
  add("graphs", graphs);
  add("pinnedBytes", pinned_bytes);
  add("hostFunctions", host_functions);
  add("lateKernels", late_kernels);
  add("lastError", last_error);
  add("hold", hold);
  add("records", records);
  show_to_libraries();
  exports["emulation"] = functions;
}

}  // namespace fw
