// What the CUDA addon offers beside its kernels: which cards there are, or why there is none; the surface of each; copies
// between them; the use of cuBLAS.
#include "../instance.h"
#include "emulated.h"

namespace fw {
namespace {

Napi::Object report(Napi::Env env, const CardFacts& facts) {
  Napi::Object report = Napi::Object::New(env);
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

// Never empty: where no card is to be had, one entry says why. None of them is asked for a context.
Napi::Value cards(const Napi::CallbackInfo& info) {
  Napi::Array list = Napi::Array::New(info.Env());
  for (const CardFacts& facts : found_cards()) list[list.Length()] = report(info.Env(), facts);
  return list;
}

int card_number(const Napi::Value& value) {
  const int64_t at = whole(value);
  if (at < 0 || at >= static_cast<int64_t>(found_cards().size())) throw std::out_of_range("no such card");
  return static_cast<int>(at);
}

// (card): one of `cards`, which is asked for a context.
Napi::Value card(const Napi::CallbackInfo& info) { return report(info.Env(), Card::facts(card_number(info[0]))); }

Instance* find_instance(Napi::Env env, int at) {
  for (const std::unique_ptr<Instance>& instance : instances_of(env)) {
    if (instance->environment.at() == at) return instance.get();
  }
  return nullptr;
}

void add_card_functions(Napi::Object object, Instance& instance);

// (card) -> the functions of the addon, for this one.
Napi::Value open(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const int at = card_number(info[0]);
  if (!find_instance(env, at)) instances_of(env).push_back(std::make_unique<Instance>(env, at));
  Napi::Object object = Napi::Object::New(env);
  Instance& instance = *find_instance(env, at);
  add_common_functions(object, instance);
  add_card_functions(object, instance);
  return object;
}

// (to, offset, card, from, offset, bytes): from a block of another card of this thread, in bytes.
void copy_from(const Napi::CallbackInfo& info) {
  const auto id = [&](int i) { return static_cast<uint64_t>(whole(info[i])); };
  Instance* const source = find_instance(info.Env(), card_number(info[2]));
  if (!source) throw std::invalid_argument("a card that was not opened");
  environment_of(info).copy_from(id(0), whole(info[1]), source->environment, id(3), whole(info[4]), whole(info[5]));
}

// {library, reason}; apart from `card`, since a library of some hundred megabytes is opened for it.
Napi::Value library(const Napi::CallbackInfo& info) {
  const Card::Library library = environment_of(info).library();
  Napi::Object report = Napi::Object::New(info.Env());
  report["library"] = library.name;
  if (!library.reason.empty()) report["libraryReason"] = library.reason;
  return report;
}

void use_cublas(const Napi::CallbackInfo& info) {
  environment_of(info).use_cublas(info[0].As<Napi::Boolean>().Value());
}

void add_card_functions(Napi::Object object, Instance& instance) {
  add_function(object, instance, "library", library);
  add_function(object, instance, "useCublas", use_cublas);
  add_function(object, instance, "copyFrom", copy_from);
}

}  // namespace

void add_device_functions(Napi::Object exports, Instance& instance) {
  add_function(exports, instance, "cards", cards);
  add_function(exports, instance, "card", card);
  add_function(exports, instance, "open", open);
  add_card_functions(exports, instance);
  add_emulation_functions(exports);
}

}  // namespace fw
