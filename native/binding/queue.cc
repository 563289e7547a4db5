// A ring of commands; both ends spin briefly before they sleep.
#include "queue.h"

#include <chrono>

namespace fw {
namespace {

constexpr auto kSpin = std::chrono::microseconds(20);

template <class Ready>
bool spin(const Ready& ready) {
  const auto end = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 64; i++) {
      if (ready()) return true;
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

}  // namespace

Queue::Slot& Queue::next_slot() {
  if (!slots_) {
    slots_ = std::make_unique<Slot[]>(kSlots);
    dispatcher_ = std::thread([this] { serve(); });
  }
  if (pushed_ >= kSlots) wait_done(pushed_ - kSlots + 1);
  return slots_[pushed_ % kSlots];
}

void Queue::publish() {
  published_ = ++pushed_;
  if (asleep_) {
    { std::lock_guard<std::mutex> lock(mutex_); }
    work_.notify_one();
  }
}

void Queue::drain() { wait_done(pushed_); }

void Queue::wait_done(uint64_t count) {
  if (spin([&] { return done_ >= count; })) return;
  std::unique_lock<std::mutex> lock(mutex_);
  awaited_ = count;
  progress_.wait(lock, [&] { return done_ >= count; });
  awaited_ = 0;
}

std::exception_ptr Queue::take_failure() {
  std::lock_guard<std::mutex> lock(mutex_);
  return std::exchange(failure_, nullptr);
}

void Queue::rethrow() {
  if (std::exception_ptr failure = take_failure()) std::rethrow_exception(failure);
}

bool Queue::wait_work(uint64_t taken) {
  if (spin([&] { return stop_ || published_ > taken; })) return !stop_;
  std::unique_lock<std::mutex> lock(mutex_);
  asleep_ = true;
  work_.wait(lock, [&] { return stop_ || published_ > taken; });
  asleep_ = false;
  return !stop_;
}

void Queue::serve() {
  for (uint64_t taken = 0; wait_work(taken); taken++) {
    Slot& slot = slots_[taken % kSlots];
    try {
      slot.run(slot.storage);
    } catch (...) {
      std::lock_guard<std::mutex> lock(mutex_);
      if (!failure_) failure_ = std::current_exception();
    }
    slot.destroy(slot.storage);
    done_ = taken + 1;
    const uint64_t awaited = awaited_;
    if (awaited != 0 && done_ >= awaited) {
      { std::lock_guard<std::mutex> lock(mutex_); }
      progress_.notify_one();
    }
  }
}

void Queue::stop() {
  if (!dispatcher_.joinable()) return;
  stop_ = true;
  { std::lock_guard<std::mutex> lock(mutex_); }
  work_.notify_one();
  dispatcher_.join();
  for (uint64_t i = done_; i < pushed_; i++) slots_[i % kSlots].destroy(slots_[i % kSlots].storage);
  done_ = pushed_;
}

}  // namespace fw
