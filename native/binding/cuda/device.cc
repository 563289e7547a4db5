// What the CUDA addon offers beside its kernels: the facts of the card, or why there is none.
#include "../instance.h"
#include "emulated.h"

namespace fw {
namespace {

Napi::Value card(const Napi::CallbackInfo& info) {
  const CardFacts& facts = Card::facts();
  Napi::Object report = Napi::Object::New(info.Env());
  if (!facts.reason.empty()) report["reason"] = facts.reason;
  report["name"] = facts.name;
  report["capability"] = std::to_string(facts.major) + "." + std::to_string(facts.minor);
  report["multiprocessors"] = facts.multiprocessors;
  report["memory"] = static_cast<double>(facts.memory);
  report["driver"] = facts.driver;
  report["runtime"] = facts.runtime;
  return report;
}

}  // namespace

void add_device_functions(Napi::Object exports, Instance& instance) {
  add_function(exports, instance, "card", card);
  add_emulation_functions(exports);
}

}  // namespace fw
