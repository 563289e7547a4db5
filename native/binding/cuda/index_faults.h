// Indices that a card could not follow. A card answers late: each call that follows indices gets a slot in the card's
// memory, and until that has been read, everything made of the call's results is in doubt. Every read fetches the open
// slots with it and settles them: what was in doubt is well again, or fails.
#pragma once
#include <array>
#include <bitset>
#include <exception>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "../failures.h"
#include "card.h"

namespace fw {

template <class Args>
struct FollowsIndices {
  static constexpr const char* kernel = nullptr;
};
#define FW_FOLLOWS(args, name, field)             \
  template <>                                     \
  struct FollowsIndices<args> {                   \
    static constexpr const char* kernel = name;   \
    static constexpr const char* argument = field; \
  };
FW_FOLLOWS(embeddingArgs, "embedding", "indices")
FW_FOLLOWS(embeddingBackwardArgs, "embedding", "indices")
FW_FOLLOWS(gatherArgs, "gather", "index")
FW_FOLLOWS(scatterAddArgs, "scatterAdd", "index")
FW_FOLLOWS(crossEntropyArgs, "crossEntropy", "target")
FW_FOLLOWS(crossEntropyBackwardArgs, "crossEntropy", "target")
#undef FW_FOLLOWS

// Of one environment. Any thread.
class IndexFaults {
 public:
  static constexpr int kSlots = 256;
  using Slots = std::bitset<kSlots>;

  struct Slot {
    uint64_t ticket = 0;
    const char *kernel = nullptr, *argument = nullptr;
    bool dirty = false;  // the card's memory holds something else than zeros
  };

  // What a read has asked the card.
  struct Question {
    std::array<cuda::IndexFault, kSlots> faults;
    std::array<Slot, kSlots> slots;
    Slots open, block;  // all open slots, and those that the block's contents depend on
    std::exception_ptr failure;
    std::shared_ptr<const Card::Download> download;
  };

  // Whether anything has failed, so that some calls may not run.
  bool any() const { return failures_.any(); }

  // Runs `launch(fault)`, which starts the kernel, unless something that it reads has failed.
  template <class Args, class Launch>
  void call(Card& card, const Uses& uses, const Launch& launch) {
    constexpr bool follows = FollowsIndices<Args>::kernel != nullptr;
    std::unique_lock<std::mutex> lock(mutex_);
    if (failures_.any() && failures_.inherit(uses)) return;
    Slots doubt = doubt_of(uses);
    cuda::IndexFault* fault = nullptr;
    if constexpr (follows) {
      const int slot = open_slot(card, lock, FollowsIndices<Args>::kernel, FollowsIndices<Args>::argument);
      fault = slots_on_card(card) + slot;
      doubt.set(slot);
    }
    try {
      launch(fault);
    } catch (...) {
      failures_.record(uses, std::current_exception());
      throw;
    }
    spread(uses, doubt);
    if (failures_.any()) failures_.heal(uses);
  }

  // With the download of the block's contents, and after it; `answer` throws what the block failed with.
  std::shared_ptr<Question> ask(Card& card, uint64_t id);
  void answer(Question& question);

  // Before the block `to` becomes a copy of `from`, a block of another card: what that depends on, `to` depends on. False
  // where `from` has failed, and `to` with it: there is nothing to copy.
  bool follow(Card& card, uint64_t to, IndexFaults& source, Card& of, uint64_t from);

  // The block was written by the host, or is no more.
  void forget(uint64_t id);
  // Gives the card's memory back.
  void close(Card& card);

 private:
  Slots doubt_of(const Uses& uses) const;
  void spread(const Uses& uses, const Slots& doubt);
  int open_slot(Card& card, std::unique_lock<std::mutex>& lock, const char* kernel, const char* argument);
  cuda::IndexFault* slots_on_card(Card& card);
  std::shared_ptr<Question> ask_locked(Card& card, uint64_t id);
  void settle(const Question& question);

  std::mutex mutex_;
  Failures failures_;
  Block memory_{};
  std::array<Slot, kSlots> slots_;
  Slots open_;
  uint64_t tickets_ = 0;
  std::unordered_map<uint64_t, Slots> doubts_;  // by block
};

}  // namespace fw
