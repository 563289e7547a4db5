// Looking for cards: the driver first, then each card's properties, and a context where one is to be used.
#include "found_cards.h"

#include <cctype>
#include <cstdlib>

namespace fw {
namespace {

// 13000 -> "13.0"
std::string version(int number) { return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10); }

// What CUDA_VISIBLE_DEVICES has to do with it, if anything.
std::string visible() {
  const char* const setting = std::getenv("CUDA_VISIBLE_DEVICES");
  return setting ? " (CUDA_VISIBLE_DEVICES is \"" + std::string(setting) + "\")" : "";
}

// "0: NVIDIA H100, 1: NVIDIA L4"
std::string names_of(int count) {
  std::string names;
  for (int i = 0; i < count; i++) {
    cudaDeviceProp properties{};
    if (cudaGetDeviceProperties(&properties, i) != cudaSuccess) cudaGetLastError();
    names += (i ? ", " : "") + std::to_string(i) + ": " + (properties.name[0] ? properties.name : "unknown");
  }
  return names;
}

// The number that FAST_WEIGHTS_CUDA_DEVICE is, or -1 where it is not the number of one of `count` cards.
int index_of(const char* setting, int count) {
  char* end = nullptr;
  const long index = std::isdigit(static_cast<unsigned char>(*setting)) ? std::strtol(setting, &end, 10) : -1;
  return index >= 0 && index < count && *end == 0 ? static_cast<int>(index) : -1;
}

CardFacts lacks(CardFacts facts, const char* missing, const std::string& reason) {
  cudaGetLastError();
  facts.missing = missing, facts.reason = reason;
  return facts;
}

CardFacts describe(CardFacts facts, int index) {
  facts.index = index;
  cudaDeviceProp properties{};
  if (const cudaError_t error = cudaGetDeviceProperties(&properties, index); error != cudaSuccess) {
    return lacks(facts, "card", cudaGetErrorString(error));
  }
  facts.name = properties.name;
  facts.major = properties.major, facts.minor = properties.minor;
  facts.multiprocessors = properties.multiProcessorCount;
  facts.memory = static_cast<int64_t>(properties.totalGlobalMem);
  facts.shared = static_cast<int64_t>(properties.sharedMemPerBlockOptin);
  if (facts.major < 8) {
    return lacks(facts, "newer card", facts.name + " has compute capability " + std::to_string(facts.major) + "." +
                                          std::to_string(facts.minor) + ", 8.0 (Ampere) or newer is needed");
  }
  return facts;
}

std::vector<CardFacts> look() {
  CardFacts facts;
  cudaDriverGetVersion(&facts.driver);
  cudaRuntimeGetVersion(&facts.runtime);
  if (facts.driver == 0) return {lacks(facts, "driver", "no NVIDIA driver is installed")};
  if (facts.driver / 1000 < facts.runtime / 1000) {
    return {lacks(facts, "newer driver", "the NVIDIA driver supports CUDA " + version(facts.driver) + ", CUDA " +
                                             version(facts.runtime) + " is needed (driver 580 or newer)")};
  }
  int count = 0;
  if (const cudaError_t found = cudaGetDeviceCount(&count); found != cudaSuccess) {
    return {lacks(facts, "card", cudaGetErrorString(found) + visible())};
  }
  if (count == 0) return {lacks(facts, "card", "the driver finds no card" + visible())};
  const char* const setting = std::getenv("FAST_WEIGHTS_CUDA_DEVICE");
  if (setting && *setting) {
    facts.index = index_of(setting, count);
    if (facts.index >= 0) return {describe(facts, facts.index)};
    return {lacks(facts, "index", "FAST_WEIGHTS_CUDA_DEVICE must be the number of a card, got \"" +
                                      std::string(setting) + "\"; there are " + names_of(count) + visible())};
  }
  std::vector<CardFacts> cards;
  for (int index = 0; index < count; index++) cards.push_back(describe(facts, index));
  return cards;
}

}  // namespace

const std::vector<CardFacts>& found_cards() {
  static const std::vector<CardFacts>& cards = *new std::vector<CardFacts>(look());
  return cards;
}

CardFacts examine_card(int at) {
  const CardFacts& facts = found_cards().at(static_cast<size_t>(at));
  if (!facts.reason.empty()) return facts;
  // Others have it for themselves, its memory is full, it has failed.
  cudaError_t context = choose_card(facts.index);
  if (context == cudaSuccess) context = cudaFree(nullptr);
  if (context == cudaSuccess) return facts;
  return lacks(facts, "context", facts.name + " gives this process no context: " + cudaGetErrorString(context));
}

cudaError_t choose_card(int index) {
  thread_local int chosen = -1;
  if (chosen == index) return cudaSuccess;
  const cudaError_t code = cudaSetDevice(index);
  chosen = code == cudaSuccess ? index : -1;
  return code;
}

}  // namespace fw
