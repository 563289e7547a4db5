// What the CUDA addon offers beside its kernels: the facts of the card, or why there is none; the use of cuBLAS.
#include "../instance.h"
#include "emulated.h"

namespace fw {
namespace {

Napi::Value card(const Napi::CallbackInfo& info) {
  const CardFacts& facts = Card::facts();
  Napi::Object report = Napi::Object::New(info.Env());
  if (!facts.reason.empty()) {
    report["reason"] = facts.reason;
    report["missing"] = facts.missing;
  }
  report["index"] = facts.index;
  report["name"] = facts.name;
  report["capability"] = std::to_string(facts.major) + "." + std::to_string(facts.minor);
  report["multiprocessors"] = facts.multiprocessors;
  report["memory"] = static_cast<double>(facts.memory);
  report["driver"] = facts.driver;
  report["runtime"] = facts.runtime;
  return report;
}

// {library, reason}; apart from `card`, since a library of some hundred megabytes is opened for it.
Napi::Value library(const Napi::CallbackInfo& info) {
  const Card::Library library = Card::get().library();
  Napi::Object report = Napi::Object::New(info.Env());
  report["library"] = library.name;
  if (!library.reason.empty()) report["libraryReason"] = library.reason;
  return report;
}

void use_cublas(const Napi::CallbackInfo& info) {
  environment_of(info).use_cublas(info[0].As<Napi::Boolean>().Value());
}

}  // namespace

void add_device_functions(Napi::Object exports, Instance& instance) {
  add_function(exports, instance, "card", card);
  add_function(exports, instance, "library", library);
  add_function(exports, instance, "useCublas", use_cublas);
  add_emulation_functions(exports);
}

}  // namespace fw
