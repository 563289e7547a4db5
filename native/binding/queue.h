// The command queue of one environment: one producer (its JavaScript thread), one dispatcher thread, strict order.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>

namespace fw {

class Queue {
 public:
  Queue() = default;
  Queue(const Queue&) = delete;
  // Finishes the command that runs, drops the others, joins the dispatcher.
  ~Queue() { stop(); }

  // Everything pushed has run. Only the producer may ask.
  bool idle() const { return done_.load(std::memory_order_acquire) == pushed_; }

  // Waits while the ring is full.
  template <class Command>
  void push(Command command) {
    static_assert(sizeof(Command) <= kCommandBytes && alignof(Command) <= alignof(std::max_align_t), "command");
    Slot& slot = next_slot();
    new (slot.storage) Command(std::move(command));
    slot.run = [](void* storage) { (*static_cast<Command*>(storage))(); };
    slot.destroy = [](void* storage) { static_cast<Command*>(storage)->~Command(); };
    publish();
  }

  // Blocks until everything pushed so far has run.
  void drain();
  // Throws what a command threw since the last call, once.
  void rethrow();
  // What `rethrow` would throw, cleared; null when nothing failed. Any thread.
  std::exception_ptr take_failure();
  void stop();

 private:
  static constexpr size_t kCommandBytes = 768;
  static constexpr uint64_t kSlots = 256;
  struct Slot {
    void (*run)(void*);
    void (*destroy)(void*);
    alignas(std::max_align_t) unsigned char storage[kCommandBytes];
  };

  Slot& next_slot();
  void publish();
  void wait_done(uint64_t count);
  void serve();
  bool wait_work(uint64_t taken);

  std::unique_ptr<Slot[]> slots_;
  std::thread dispatcher_;
  uint64_t pushed_ = 0;  // the producer's
  alignas(64) std::atomic<uint64_t> published_{0};
  std::atomic<bool> stop_{false}, asleep_{false};
  alignas(64) std::atomic<uint64_t> done_{0};
  std::atomic<uint64_t> awaited_{0};  // the producer sleeps until done_ reaches it
  std::mutex mutex_;
  std::condition_variable work_, progress_;
  std::exception_ptr failure_;
};

}  // namespace fw
