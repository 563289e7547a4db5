// Slots, doubts and how they are settled.
#include "index_faults.h"

#include <iterator>

namespace fw {
namespace {

std::exception_ptr failure_of(const IndexFaults::Slot& slot, const cuda::IndexFault& fault) {
  return std::make_exception_ptr(bad_index(slot.kernel, slot.argument, fault.position, fault.value, fault.limit));
}

}  // namespace

IndexFaults::Slots IndexFaults::doubt_of(const Uses& uses) const {
  Slots doubt;
  if (open_.none()) return doubt;
  uses.each([&](const Use& use) {
    if (!use.read) return;
    const auto found = doubts_.find(use.id);
    if (found != doubts_.end()) doubt |= found->second;
  });
  return doubt;
}

void IndexFaults::spread(const Uses& uses, const Slots& doubt) {
  if (open_.none()) return;
  uses.each([&](const Use& use) {
    if (!use.written) return;
    if (doubt.any()) {
      Slots& own = doubts_[use.id];
      own = use.whole ? doubt : own | doubt;
    } else if (use.whole) {
      doubts_.erase(use.id);
    }
  });
}

cuda::IndexFault* IndexFaults::slots_on_card(Card& card) {
  if (!memory_.data) {
    memory_ = card.allocate(sizeof(cuda::IndexFault) * kSlots, false);
    if (!memory_.data) throw OutOfMemory("no room on the card for what it says of indices");
    const std::array<cuda::IndexFault, kSlots> none{};
    card.write(memory_.data, none.data(), sizeof none);
  }
  return reinterpret_cast<cuda::IndexFault*>(memory_.data);
}

// The next one in turn; where it is still open, nothing was read for a long time, and this waits for the card.
int IndexFaults::open_slot(Card& card, std::unique_lock<std::mutex>& lock, const char* kernel, const char* argument) {
  const int at = static_cast<int>(tickets_ % kSlots);
  if (open_[at]) {
    const std::shared_ptr<Question> question = ask_locked(card, 0);
    lock.unlock();
    question->download->finish();
    lock.lock();
    settle(*question);
  }
  Slot& slot = slots_[at];
  if (slot.dirty) {
    const cuda::IndexFault none{};
    card.write(slots_on_card(card) + at, &none, sizeof none);
  }
  slot = {++tickets_, kernel, argument, false};
  open_.set(at);
  return at;
}

std::shared_ptr<IndexFaults::Question> IndexFaults::ask(Card& card, uint64_t id) {
  std::lock_guard<std::mutex> lock(mutex_);
  return ask_locked(card, id);
}

std::shared_ptr<IndexFaults::Question> IndexFaults::ask_locked(Card& card, uint64_t id) {
  const auto question = std::make_shared<Question>();
  if (failures_.any()) question->failure = failures_.of(id);
  question->open = open_;
  if (open_.none()) return question;
  if (const auto found = doubts_.find(id); found != doubts_.end()) question->block = found->second;
  question->slots = slots_;
  char* const to = reinterpret_cast<char*>(question->faults.data());
  question->download = card.start_download(to, memory_.data, sizeof question->faults);
  return question;
}

// Slots that another question has settled meanwhile, and perhaps another call has taken, are left alone.
void IndexFaults::settle(const Question& question) {
  Slots settled;
  for (int i = 0; i < kSlots; i++) {
    if (!question.open[i] || !open_[i] || slots_[i].ticket != question.slots[i].ticket) continue;
    settled.set(i);
    if (question.faults[i].found == 0) continue;
    slots_[i].dirty = true;
    const std::exception_ptr failure = failure_of(slots_[i], question.faults[i]);
    for (const auto& [id, doubt] : doubts_) {
      if (doubt[i]) failures_.put(id, failure);
    }
  }
  open_ &= ~settled;
  for (auto it = doubts_.begin(); it != doubts_.end();) {
    it->second &= ~settled;
    it = it->second.none() ? doubts_.erase(it) : std::next(it);
  }
}

void IndexFaults::answer(Question& question) {
  if (question.download) {
    question.download->finish();
    std::lock_guard<std::mutex> lock(mutex_);
    settle(question);
    for (int i = 0; i < kSlots && !question.failure; i++) {
      if (question.block[i] && question.faults[i].found != 0) {
        question.failure = failure_of(question.slots[i], question.faults[i]);
      }
    }
  }
  if (question.failure) std::rethrow_exception(question.failure);
}

bool IndexFaults::follow(Card& card, uint64_t to, IndexFaults& source, Card& of, uint64_t from) {
  std::exception_ptr failure;
  Slots doubt;
  std::array<Slot, kSlots> slots;
  {
    std::lock_guard<std::mutex> lock(source.mutex_);
    if (source.failures_.any()) failure = source.failures_.of(from);
    if (const auto found = source.doubts_.find(from); found != source.doubts_.end()) doubt = found->second;
    slots = source.slots_;
  }
  std::unique_lock<std::mutex> lock(mutex_);
  if (failure) failures_.put(to, failure);
  for (int i = 0; i < kSlots && !failure; i++) {
    if (!doubt[i]) continue;
    const int at = open_slot(card, lock, slots[i].kernel, slots[i].argument);
    doubts_[to].set(at);

    of.copy_to(card, slots_on_card(card) + at, source.slots_on_card(of) + i, sizeof(cuda::IndexFault));
  }
  return failure == nullptr;
}

void IndexFaults::forget(uint64_t id) {
  std::lock_guard<std::mutex> lock(mutex_);
  doubts_.erase(id);
  if (failures_.any()) failures_.forget(id);
}

void IndexFaults::close(Card& card) {
  if (memory_.data) card.free(memory_);
  memory_ = {};
}

}  // namespace fw
