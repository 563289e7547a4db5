// The command queue of one environment: one producer (its JavaScript thread), one dispatcher thread, strict order. A
// producer that waits for everything runs it itself unless the dispatcher does already, and so it does with every command
// where the system gives no thread. Commands throw nothing.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
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

  // Waits only when nobody has read anything for so long that kMostPending commands are waiting: a training step is
  // thousands, and must not hold the event loop up. Throws std::logic_error after `stop`.
  template <class Command>
  void push(Command command) {
    static_assert(sizeof(Command) <= kCommandBytes && alignof(Command) <= alignof(std::max_align_t), "command");
    Slot& slot = next_slot();
    new (slot.storage) Command(std::move(command));
    slot.run = [](void* storage) { (*static_cast<Command*>(storage))(); };
    slot.destroy = [](void* storage) { static_cast<Command*>(storage)->~Command(); };
    publish();
  }

  // Returns when everything pushed so far has run.
  void drain();
  void stop();

 private:
  static constexpr size_t kCommandBytes = 1024;
  static constexpr uint64_t kMostPending = 1 << 16;
  static constexpr uint64_t kSegmentSlots = 64;
  struct Slot {
    void (*run)(void*);
    void (*destroy)(void*);
    alignas(std::max_align_t) unsigned char storage[kCommandBytes];
  };
  struct Segment {
    Slot slots[kSegmentSlots];
    std::unique_ptr<Segment> next;
    uint64_t end;  // how many commands there are up to its last slot
  };

  bool serving();
  Slot& next_slot();
  void append_segment();
  Slot& slot_to_run(uint64_t command);
  void publish();
  void wait_done(uint64_t count);
  void serve();
  void run_published();  // only who set busy_
  bool wait_work(uint64_t seen);

  // A chain from the oldest segment in use to the one being filled. The producer links and frees, whoever runs commands
  // follows; commands are counted from 0, kSegmentSlots of them to a segment.
  std::unique_ptr<Segment> oldest_;
  Segment* filling_ = nullptr;  // the producer's
  Segment* running_ = nullptr;  // of who set busy_
  std::thread dispatcher_;
  uint64_t pushed_ = 0;  // the producer's
  alignas(64) std::atomic<uint64_t> published_{0};
  std::atomic<bool> stop_{false}, asleep_{false}, busy_{false};
  alignas(64) std::atomic<uint64_t> done_{0};
  std::atomic<uint64_t> awaited_{0};  // the producer sleeps until done_ reaches it
  std::mutex mutex_;
  std::condition_variable work_, progress_;
};

}  // namespace fw
