// A chain of segments of commands; both ends spin briefly before they sleep.
#include "queue.h"

#include <chrono>
#include <stdexcept>
#include <system_error>

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

// Whether there is a dispatcher; it is started when first needed, and asked for again where there was no thread to be had.
bool Queue::serving() {
  if (dispatcher_.joinable()) return true;
  try {
    dispatcher_ = std::thread([this] { serve(); });
    return true;
  } catch (const std::system_error&) {
    return false;
  }
}

Queue::Slot& Queue::next_slot() {
  if (stop_) throw std::logic_error("the environment has ended");
  if (pushed_ >= kMostPending) wait_done(pushed_ - kMostPending + 1);
  if (pushed_ % kSegmentSlots == 0) append_segment();
  return filling_->slots[pushed_ % kSegmentSlots];
}

void Queue::append_segment() {
  std::unique_ptr<Segment> segment;
  // One command beyond its end has run: the dispatcher has gone on to the next segment and never looks back.
  while (oldest_ && done_ > oldest_->end) {
    segment = std::move(oldest_);
    oldest_ = std::move(segment->next);
  }
  if (!segment) segment.reset(new Segment);
  segment->end = pushed_ + kSegmentSlots;
  Segment* const appended = segment.get();
  (oldest_ ? filling_->next : oldest_) = std::move(segment);
  filling_ = appended;
}

void Queue::publish() {
  published_ = ++pushed_;
  if (asleep_) {
    { std::lock_guard<std::mutex> lock(mutex_); }
    work_.notify_one();
  }
  if (!serving()) drain();
}

void Queue::drain() {
  // The producer has nothing else to do, and runs at once what the dispatcher would first have to wake up for.
  if (!busy_.exchange(true)) {
    run_published();
    busy_ = false;
  }
  wait_done(pushed_);
}

void Queue::wait_done(uint64_t count) {
  if (spin([&] { return done_ >= count; })) return;
  std::unique_lock<std::mutex> lock(mutex_);
  awaited_ = count;
  progress_.wait(lock, [&] { return done_ >= count; });
  awaited_ = 0;
}

bool Queue::wait_work(uint64_t seen) {
  if (spin([&] { return stop_ || published_ > seen; })) return !stop_;
  std::unique_lock<std::mutex> lock(mutex_);
  asleep_ = true;
  work_.wait(lock, [&] { return stop_ || published_ > seen; });
  asleep_ = false;
  return !stop_;
}

Queue::Slot& Queue::slot_to_run(uint64_t command) {
  if (command % kSegmentSlots == 0) running_ = running_ ? running_->next.get() : oldest_.get();
  return running_->slots[command % kSegmentSlots];
}

void Queue::run_published() {
  while (!stop_ && done_ < published_) {
    Slot& slot = slot_to_run(done_);
    slot.run(slot.storage);
    slot.destroy(slot.storage);
    const uint64_t done = ++done_, awaited = awaited_;
    if (awaited != 0 && done >= awaited) {
      { std::lock_guard<std::mutex> lock(mutex_); }
      progress_.notify_one();
    }
  }
}

void Queue::serve() {
  for (uint64_t seen = 0; wait_work(seen);) {
    // Read first: a producer that is busy after this runs everything up to here.
    seen = published_;
    if (busy_.exchange(true)) continue;
    run_published();
    busy_ = false;
  }
}

void Queue::stop() {
  stop_ = true;
  { std::lock_guard<std::mutex> lock(mutex_); }
  work_.notify_one();
  if (dispatcher_.joinable()) dispatcher_.join();
  for (uint64_t i = done_; i < pushed_; i++) {
    Slot& slot = slot_to_run(i);
    slot.destroy(slot.storage);
  }
  done_ = pushed_;
}

}  // namespace fw
