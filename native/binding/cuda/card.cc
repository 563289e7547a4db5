// Finding a card, and everything that goes onto its stream.
#include "card.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <cstring>

#include "cublas.h"

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

// The number of FAST_WEIGHTS_CUDA_DEVICE, 0 where it is not set, -1 where it is not the number of one of `count` cards.
int index_of(const char* setting, int count) {
  if (!setting || !*setting) return 0;
  char* end = nullptr;
  const long index = std::isdigit(static_cast<unsigned char>(*setting)) ? std::strtol(setting, &end, 10) : -1;
  return index >= 0 && index < count && *end == 0 ? static_cast<int>(index) : -1;
}

CardFacts look() {
  CardFacts facts;
  const auto lacks = [&](const char* missing, const std::string& reason) {
    cudaGetLastError();
    facts.missing = missing, facts.reason = reason;
    return facts;
  };
  cudaDriverGetVersion(&facts.driver);
  cudaRuntimeGetVersion(&facts.runtime);
  if (facts.driver == 0) return lacks("driver", "no NVIDIA driver is installed");
  if (facts.driver / 1000 < facts.runtime / 1000) {
    return lacks("newer driver", "the NVIDIA driver supports CUDA " + version(facts.driver) + ", CUDA " +
                                     version(facts.runtime) + " is needed (driver 580 or newer)");
  }
  int count = 0;
  if (const cudaError_t found = cudaGetDeviceCount(&count); found != cudaSuccess) {
    return lacks("card", cudaGetErrorString(found) + visible());
  }
  if (count == 0) return lacks("card", "the driver finds no card" + visible());
  const char* const setting = std::getenv("FAST_WEIGHTS_CUDA_DEVICE");
  facts.index = index_of(setting, count);
  if (facts.index < 0) {
    return lacks("index", "FAST_WEIGHTS_CUDA_DEVICE must be the number of a card, got \"" + std::string(setting) +
                              "\"; there are " + names_of(count) + visible());
  }
  cudaDeviceProp properties{};
  if (const cudaError_t error = cudaGetDeviceProperties(&properties, facts.index); error != cudaSuccess) {
    return lacks("card", cudaGetErrorString(error));
  }
  facts.name = properties.name;
  facts.major = properties.major, facts.minor = properties.minor;
  facts.multiprocessors = properties.multiProcessorCount;
  facts.memory = static_cast<int64_t>(properties.totalGlobalMem);
  facts.shared = static_cast<int64_t>(properties.sharedMemPerBlockOptin);
  if (facts.major < 8) {
    return lacks("newer card", facts.name + " has compute capability " + std::to_string(facts.major) + "." +
                                   std::to_string(facts.minor) + ", 8.0 (Ampere) or newer is needed");
  }
  // A card may be listed and refuse: others have it for themselves, its memory is full, it has failed.
  cudaError_t context = cudaSetDevice(facts.index);
  if (context == cudaSuccess) context = cudaFree(nullptr);
  if (context != cudaSuccess) {
    return lacks("context", facts.name + " gives this process no context: " + cudaGetErrorString(context));
  }
  return facts;
}

// Errors of one call, after which the context is as good as before.
bool passes(cudaError_t code) {
  switch (code) {
    case cudaErrorMemoryAllocation:
    case cudaErrorInvalidValue:
    case cudaErrorInvalidConfiguration:
    case cudaErrorLaunchOutOfResources:
      return true;
    default:
      return false;
  }
}

bool caches() {
  const char* const setting = std::getenv("FAST_WEIGHTS_CUDA_CACHE");
  if (!setting || !*setting) return true;
  if (std::string(setting) == "off") return false;
  throw std::runtime_error("FAST_WEIGHTS_CUDA_CACHE must be `off` or unset, got \"" + std::string(setting) + "\"");
}

}  // namespace

const CardFacts& Card::facts() {
  static const CardFacts facts = look();
  return facts;
}

Card& Card::get() {
  if (!facts().reason.empty()) throw std::runtime_error("no card to use: " + facts().reason);
  static Card* const card = new Card;  // never destroyed: threads may outlive static objects
  return *card;
}

Card::Card() : synchronous_(std::getenv("FAST_WEIGHTS_CUDA_SYNC") != nullptr) { attempt([&] { open(); }); }

void Card::open() {
  choose_device();
  cuda::check("stream", cudaStreamCreateWithFlags(&context_.stream, cudaStreamNonBlocking));
  // Lazy loading would look for room for a kernel's code at its first launch, when tensors may have taken all of it.
  cuda::load_kernels();
  memory_.attach(context_.stream, caches());
  context_.card = this;
  context_.most_scratch = std::min(context_.most_scratch, facts().memory / 16);
  context_.most_shared = facts().shared, context_.multiprocessors = facts().multiprocessors;
  context_.trim = [](const cuda::Context& cx) { static_cast<const CardContext&>(cx).card->memory_.trim(); };
  context_.scratch = [](const cuda::Context& cx, int64_t bytes) -> void* {
    Card& card = *static_cast<const CardContext&>(cx).card;
    const Block block = card.memory_.allocate(bytes);
    if (!block.data) {
      throw OutOfMemory("no room on the card for " + std::to_string(bytes) + " bytes of working memory: " + card.room());
    }
    card.scratch_.push_back(block);
    return block.data;
  };
}

void Card::choose_device() {
  thread_local bool chosen = false;
  if (chosen) return;
  cuda::check("device", cudaSetDevice(facts().index));
  chosen = true;
}

std::string Card::room() const {
  size_t free = 0, total = 0;
  if (cudaMemGetInfo(&free, &total) != cudaSuccess) cudaGetLastError();
  return std::to_string(free) + " are free, " + std::to_string(memory_.live()) + " in use";
}

void Card::tell() {
  try {
    throw;
  } catch (const cuda::CudaError& error) {
    if (error.code == cudaErrorMemoryAllocation) {
      throw OutOfMemory(std::string("no room on the card: ") + error.what() + "; of its bytes " + room());
    }
    if (!passes(error.code)) {
      if (!failure_.empty()) throw std::runtime_error(failure_);
      failure_ = std::string("the card failed (") + error.what() +
                 ") and this process cannot use it any more; last launches: " + launches_.text();
    }
    throw;
  } catch (const cuda::LibraryError& error) {
    if (error.no_memory) throw OutOfMemory(error.what() + ("; of the card's bytes " + room()));
    throw;
  } catch (const cuda::Unsupported& error) {
    throw CodedError("UNSUPPORTED", error.what());
  }
}

Block Card::allocate(int64_t bytes, bool poison) {
  Block block{};
  locked([&] {
    block = memory_.allocate(bytes);
    if (!block.data || !poison || bytes == 0) return;
    cuda::check("poison", cudaMemsetAsync(block.data, 0xff, static_cast<size_t>(bytes), context_.stream));
  });
  return block;
}

void Card::free(Block block) {
  std::lock_guard<std::mutex> lock(mutex_);
  memory_.free(block);
}

void Card::trim() {
  locked([&] { memory_.trim(); });
}

void Card::write(void* to, const void* from, int64_t bytes) {
  for (int64_t at = 0; at < bytes; at += Staging::kPiece) {
    const int64_t size = std::min(Staging::kPiece, bytes - at);
    struct Borrowed {
      Staging& staging;
      Staging::Pinned pinned{};
      ~Borrowed() {
        if (pinned.data) staging.give_back(pinned);
      }
    } borrowed{staging_};
    unlocked([&] { borrowed.pinned = staging_.take(size); });
    std::memcpy(borrowed.pinned.data, static_cast<const char*>(from) + at, static_cast<size_t>(size));
    locked([&] {
      cuda::check("copy to the card",
                  cudaMemcpyAsync(static_cast<char*>(to) + at, borrowed.pinned.data, static_cast<size_t>(size),
                                  cudaMemcpyHostToDevice, context_.stream));
      cuda::check("event", cudaEventRecord(borrowed.pinned.done, context_.stream));
    });
  }
}

std::shared_ptr<const Card::Download> Card::start_download(char* to, const void* from, int64_t bytes) {
  const auto download = std::make_shared<Download>(*this);
  int64_t at = 0;
  do {
    const int64_t size = std::min(Staging::kPiece, bytes - at);
    unlocked([&] { download->pieces_.push_back({staging_.take(size), to + at, size}); });
    const Staging::Pinned& pinned = download->pieces_.back().pinned;
    locked([&] {
      if (size > 0) {
        cuda::check("copy from the card",
                    cudaMemcpyAsync(pinned.data, static_cast<const char*>(from) + at, static_cast<size_t>(size),
                                    cudaMemcpyDeviceToHost, context_.stream));
      }
      cuda::check("event", cudaEventRecord(pinned.done, context_.stream));
    });
    at += size;
  } while (at < bytes);
  return download;
}

Card::Download::~Download() {
  for (const Piece& piece : pieces_) card_.staging_.give_back(piece.pinned);
}

void Card::Download::finish() const {
  card_.unlocked([&] {
    for (const Piece& piece : pieces_) {
      cuda::check("kernel", cudaEventSynchronize(piece.pinned.done));
      if (piece.bytes > 0) std::memcpy(piece.to, piece.pinned.data, static_cast<size_t>(piece.bytes));
    }
  });
}

void Card::open_library() {
  locked([&] {
    if (!cublas_.usable()) open_cublas(cublas_, context_, memory_);
  });
}

Card::Library Card::library() {
  try {
    open_library();
  } catch (const std::exception& error) {
    return {"none", error.what()};
  }
  std::lock_guard<std::mutex> lock(mutex_);
  if (!cublas_.usable()) return {"own", cublas_.absence};
  return {"cublas " + std::to_string(cublas_.major) + "." + std::to_string(cublas_.minor), ""};
}

Card::Usage Card::usage() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (failure_.empty()) attempt([] { choose_device(); });
  size_t free = 0, total = 0;
  if (cudaMemGetInfo(&free, &total) != cudaSuccess) cudaGetLastError();
  return {memory_.live(), memory_.peak(), memory_.cached(), static_cast<int64_t>(free), static_cast<int64_t>(total)};
}

}  // namespace fw
