// Finding a card, and everything that goes onto its stream.
#include "card.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "cublas.h"

namespace fw {
namespace {

// 13000 -> "13.0"
std::string version(int number) { return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10); }

CardFacts look() {
  CardFacts facts;
  cudaDriverGetVersion(&facts.driver);
  cudaRuntimeGetVersion(&facts.runtime);
  if (facts.driver == 0) {
    facts.reason = "no NVIDIA driver is installed";
    return facts;
  }
  if (facts.driver / 1000 < facts.runtime / 1000) {
    facts.reason = "the NVIDIA driver supports CUDA " + version(facts.driver) + ", CUDA " + version(facts.runtime) +
                   " is needed (driver 580 or newer)";
    return facts;
  }
  int count = 0;
  const cudaError_t found = cudaGetDeviceCount(&count);
  cudaGetLastError();
  if (found != cudaSuccess || count == 0) {
    facts.reason = found == cudaSuccess ? "the driver finds no card" : cudaGetErrorString(found);
    return facts;
  }
  cudaDeviceProp properties{};
  if (const cudaError_t error = cudaGetDeviceProperties(&properties, 0); error != cudaSuccess) {
    facts.reason = cudaGetErrorString(error);
    return facts;
  }
  facts.name = properties.name;
  facts.major = properties.major, facts.minor = properties.minor;
  facts.multiprocessors = properties.multiProcessorCount;
  facts.memory = static_cast<int64_t>(properties.totalGlobalMem);
  if (facts.major < 8) {
    facts.reason = facts.name + " has compute capability " + std::to_string(facts.major) + "." +
                   std::to_string(facts.minor) + ", 8.0 (Ampere) or newer is needed";
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

Card::Card() : synchronous_(std::getenv("FAST_WEIGHTS_CUDA_SYNC") != nullptr) {
  cuda::check("device", cudaSetDevice(0));
  cuda::check("stream", cudaStreamCreateWithFlags(&context_.stream, cudaStreamNonBlocking));
  memory_.attach(context_.stream);
  context_.card = this;
  context_.scratch = [](const cuda::Context& cx, int64_t bytes) -> void* {
    Card& card = *static_cast<const CardContext&>(cx).card;
    const Block block = card.memory_.allocate(bytes);
    if (!block.data) {
      size_t free = 0, total = 0;
      cudaMemGetInfo(&free, &total);
      throw OutOfMemory("no room on the card for " + std::to_string(bytes) + " bytes of working memory: " +
                        std::to_string(free) + " are free, " + std::to_string(card.memory_.live()) + " in use");
    }
    card.scratch_.push_back(block);
    return block.data;
  };
}

void Card::require_well() const {
  if (!failure_.empty()) throw std::runtime_error(failure_);
  // The device is chosen for each thread; workers come with their own.
  thread_local const bool chosen = cudaSetDevice(0) == cudaSuccess;
  (void)chosen;
}

void Card::fail(const cuda::CudaError& error) {
  if (passes(error.code) || !failure_.empty()) return;
  failure_ = std::string("the card failed (") + error.what() + ") and this process cannot use it any more; last launches: " +
             launches_.text();
}

Block Card::allocate(int64_t bytes, bool poison) {
  std::lock_guard<std::mutex> lock(mutex_);
  require_well();
  Block block{};
  attempt([&] {
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
  std::lock_guard<std::mutex> lock(mutex_);
  require_well();
  attempt([&] { memory_.trim(); });
}

void Card::write(void* to, const void* from, int64_t bytes) {
  std::lock_guard<std::mutex> lock(mutex_);
  require_well();
  attempt([&] {
    for (int64_t at = 0; at < bytes; at += Staging::kPiece) {
      const size_t size = static_cast<size_t>(std::min(Staging::kPiece, bytes - at));
      const Staging::Pinned pinned = staging_.take(static_cast<int64_t>(size));
      std::memcpy(pinned.data, static_cast<const char*>(from) + at, size);
      const cudaError_t copied = cudaMemcpyAsync(static_cast<char*>(to) + at, pinned.data, size, cudaMemcpyHostToDevice,
                                                 context_.stream);
      const cudaError_t recorded = cudaEventRecord(pinned.done, context_.stream);
      staging_.give_back(pinned);
      cuda::check("copy to the card", copied);
      cuda::check("event", recorded);
    }
  });
}

std::shared_ptr<const Card::Download> Card::start_download(char* to, const void* from, int64_t bytes) {
  const auto download = std::make_shared<Download>(*this);  // before the lock, which its end takes too
  std::lock_guard<std::mutex> lock(mutex_);
  require_well();
  attempt([&] {
    int64_t at = 0;
    do {
      const int64_t size = std::min(Staging::kPiece, bytes - at);
      const Staging::Pinned pinned = staging_.take(size);
      download->pieces_.push_back({pinned, to + at, size});
      if (size > 0) {
        cuda::check("copy from the card",
                    cudaMemcpyAsync(pinned.data, static_cast<const char*>(from) + at, static_cast<size_t>(size),
                                    cudaMemcpyDeviceToHost, context_.stream));
      }
      cuda::check("event", cudaEventRecord(pinned.done, context_.stream));
      at += size;
    } while (at < bytes);
  });
  return download;
}

Card::Download::~Download() {
  std::lock_guard<std::mutex> lock(card_.mutex_);
  for (const Piece& piece : pieces_) card_.staging_.give_back(piece.pinned);
}

void Card::Download::finish() const {
  cudaError_t failed = cudaSuccess;
  for (const Piece& piece : pieces_) {
    failed = cudaEventSynchronize(piece.pinned.done);
    if (failed != cudaSuccess) break;
    if (piece.bytes > 0) std::memcpy(piece.to, piece.pinned.data, static_cast<size_t>(piece.bytes));
  }
  if (failed == cudaSuccess) return;
  std::lock_guard<std::mutex> lock(card_.mutex_);
  card_.attempt([&] { cuda::check("kernel", failed); });
}

Card::Library Card::library() {
  std::lock_guard<std::mutex> lock(mutex_);
  require_well();
  if (!cublas_.handle && cublas_.failure.empty()) open_cublas(cublas_, context_.stream, memory_);
  if (!cublas_.usable()) return {"own", cublas_.failure};
  return {"cublas " + std::to_string(cublas_.major) + "." + std::to_string(cublas_.minor), ""};
}

Card::Usage Card::usage() {
  std::lock_guard<std::mutex> lock(mutex_);
  size_t free = 0, total = 0;
  cudaMemGetInfo(&free, &total);
  return {memory_.live(), memory_.peak(), memory_.cached(), static_cast<int64_t>(free), static_cast<int64_t>(total)};
}

}  // namespace fw
