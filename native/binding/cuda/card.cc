// Opening a card, and everything that goes onto its stream.
#include "card.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "cublas.h"

namespace fw {
namespace {

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

bool is_on(const char* variable) {
  const char* const setting = std::getenv(variable);
  if (!setting || !*setting) return true;
  if (std::string(setting) == "off") return false;
  throw std::runtime_error(std::string(variable) + " must be `off` or unset, got \"" + setting + "\"");
}

// What is known of a card that was asked for. Never destroyed: threads may outlive static objects.
struct Entry {
  bool examined = false;
  CardFacts facts;
  Card* card = nullptr;
};
auto& entries_mutex = *new std::mutex;

Entry& entry(int at) {
  static auto& entries = *new std::vector<Entry>(found_cards().size());
  Entry& found = entries.at(static_cast<size_t>(at));
  if (!found.examined) found.facts = examine_card(at);
  found.examined = true;
  return found;
}

}  // namespace

const CardFacts& Card::facts(int at) {
  std::lock_guard<std::mutex> lock(entries_mutex);
  return entry(at).facts;
}

Card& Card::get(int at) {
  std::lock_guard<std::mutex> lock(entries_mutex);
  Entry& found = entry(at);
  if (!found.facts.reason.empty()) throw std::runtime_error("no card to use: " + found.facts.reason);
  if (!found.card) found.card = new Card(found.facts);
  return *found.card;
}

Card::Card(const CardFacts& facts) : facts_(facts), synchronous_(std::getenv("FAST_WEIGHTS_CUDA_SYNC") != nullptr) {
  attempt([&] { open(); });
}

void Card::open() {
  choose_device();
  cuda::check("stream", cudaStreamCreateWithFlags(&context_.stream, cudaStreamNonBlocking));
  cuda::check("event", cudaEventCreateWithFlags(&mark_, cudaEventDisableTiming));
  // Lazy loading would look for room for a kernel's code at its first launch, when tensors may have taken all of it.
  cuda::load_kernels();
  memory_.attach(context_.stream, is_on("FAST_WEIGHTS_CUDA_CACHE"));
  graphs_ = is_on("FAST_WEIGHTS_CUDA_GRAPHS");
  context_.card = this;
  context_.most_scratch = std::min(context_.most_scratch, facts_.memory / 16);
  context_.most_shared = facts_.shared, context_.multiprocessors = facts_.multiprocessors;
  context_.has_warpgroups = facts_.major == 9 && facts_.minor == 0;
  context_.trim = [](const cuda::Context& cx) { static_cast<const CardContext&>(cx).card->memory_.trim(); };
  context_.scratch = [](const cuda::Context& cx, int64_t bytes) -> void* {
    const CardContext& context = static_cast<const CardContext&>(cx);
    Card& card = *context.card;
    if (context.graph) return card.scratch_for(*context.graph, bytes);
    card.scratch_.push_back(card.take_scratch(bytes));
    return card.scratch_.back().data;
  };
}

Block Card::take_scratch(int64_t bytes) {
  const Block block = memory_.allocate(bytes);
  if (block.data) return block;
  throw OutOfMemory("no room on the card for " + std::to_string(bytes) + " bytes of working memory: " + room());
}

void Card::choose_device() const { cuda::check("device", choose_card(facts_.index)); }

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
  choose_card(facts_.index);
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

void Card::mark() { cuda::check("event", cudaEventRecord(mark_, context_.stream)); }

void Card::wait_for(const Card& other) {
  cuda::check("wait for a card", cudaStreamWaitEvent(context_.stream, other.mark_, 0));
}

// Where neither card reaches the other, the runtime takes the bytes through pinned memory of the host.
void Card::reach(const Card& other) {
  if (!reached_.insert(other.facts_.index).second) return;
  int can = 0;
  cuda::check("peer", cudaDeviceCanAccessPeer(&can, facts_.index, other.facts_.index));
  if (can && cudaDeviceEnablePeerAccess(other.facts_.index, 0) != cudaSuccess) cudaGetLastError();
}

void Card::copy_to(Card& other, void* to, const void* from, int64_t bytes) {
  // Its memory may still be in use by what was queued before it became the copy's.
  other.locked([&] { other.mark(); });
  locked([&] {
    reach(other);
    wait_for(other);
    cuda::check("copy between cards", cudaMemcpyPeerAsync(to, other.facts_.index, from, facts_.index,
                                                          static_cast<size_t>(bytes), context_.stream));
    mark();
  });
  other.locked([&] { other.wait_for(*this); });
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
  if (failure_.empty()) attempt([&] { choose_device(); });
  size_t free = 0, total = 0;
  if (cudaMemGetInfo(&free, &total) != cudaSuccess) cudaGetLastError();
  return {memory_.live(), memory_.peak(), memory_.cached(), static_cast<int64_t>(free), static_cast<int64_t>(total)};
}

}  // namespace fw
