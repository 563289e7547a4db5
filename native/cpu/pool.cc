// The compute pool: persistent workers that spin briefly for the next region, then sleep.
#include "pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "cores.h"
#include "redzone.h"
#include "subnormals.h"

namespace fw {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kSpin = std::chrono::microseconds(30);
// Regions that workers miss, one after the other, before they are sent to other cores.
constexpr int kMissed = 3;
// Waiting so long for a worker means that others have taken its core, and then for so long workers are left where they are.
constexpr auto kStall = std::chrono::milliseconds(2);
constexpr auto kCrowded = std::chrono::seconds(10);

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// What one thread's kernels write between.
class Scratch {
 public:
  ~Scratch() { clear(); }

  static int64_t total() { return total_; }

  void clear() {
    for (Slot& slot : slots_) drop(slot);
  }

  void* get(int slot, int64_t bytes) {
    Slot& s = slots_[slot];
    if (bytes > s.bytes) {
      drop(s);
      const int64_t wanted = (bytes + bytes / 4 + 63) / 64 * 64;
      if (posix_memalign(&s.data, 64, wanted) != 0) {
        s.data = nullptr;
        throw std::bad_alloc();
      }
      s.bytes = wanted;
      total_ += wanted;
    }
    if (kRedZones) {
      // What a request finds there is left from others.
      open_zone(s.data, bytes, s.bytes);
      fill_with_nan(s.data, bytes);
    }
    return s.data;
  }

 private:
  struct Slot {
    void* data = nullptr;
    int64_t bytes = -1;
  };

  static void drop(Slot& slot) {
    if (slot.bytes > 0) total_ -= slot.bytes;
    std::free(slot.data);
    slot = {};
  }

  Slot slots_[4];
  static std::atomic<int64_t> total_;
};

std::atomic<int64_t> Scratch::total_{0};
thread_local Scratch own_scratch;

class Pool {
 public:
  explicit Pool(int threads) : threads_(threads) {}

  int threads() const { return threads_.load(std::memory_order_relaxed); }

  void resize(int n) {
    std::lock_guard<std::mutex> region(region_);
    std::lock_guard<std::mutex> lock(lifecycle_);
    if (n == threads()) return;
    join();
    threads_ = n;
  }

  // The workers' memory goes with them; the next region starts new ones.
  void end_workers() {
    std::lock_guard<std::mutex> region(region_);
    std::lock_guard<std::mutex> lock(lifecycle_);
    join();
  }

  void enter() {
    std::lock_guard<std::mutex> lock(lifecycle_);
    users_++;
  }

  void leave() {
    std::lock_guard<std::mutex> region(region_);
    std::lock_guard<std::mutex> lock(lifecycle_);
    if (--users_ == 0) join();
  }

  void run(int64_t tasks, void (*task)(void*, int64_t), void* data) {
    if (tasks <= 1 || threads() == 1 || inside_) return run_alone(tasks, task, data);
    std::unique_lock<std::mutex> region(region_, std::try_to_lock);
    if (!region.owns_lock()) return run_alone(tasks, task, data);
    start();
    task_ = task;
    data_ = data;
    mode_ = subnormal_mode();
    const int64_t shares = static_cast<int64_t>(shares_.size());
    for (int64_t i = 0; i < shares; i++) {
      shares_[i].next = i * tasks / shares;
      shares_[i].end = (i + 1) * tasks / shares;
    }
    joined_ = 0;
    open_ = true;
    epoch_++;
    wake(tasks - 1);
    work(0);
    // A worker enters before it looks at `open_`, so after this wait none is inside or will come in.
    open_ = false;
    if (wait_for_workers()) leave_alone();
    else if (joined_ < std::min<int64_t>(tasks - 1, workers_.size())) spread();
    else missed_ = 0;
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  }

 private:
  // Tasks [next, end).
  struct alignas(64) Share {
    std::atomic<int64_t> next{0};
    int64_t end = 0;
  };

  static void run_alone(int64_t tasks, void (*task)(void*, int64_t), void* data) {
    for (int64_t i = 0; i < tasks; i++) task(data, i);
  }

  // Each thread has a share of the tasks that lie together, then helps the others. Handing out one task after another
  // would have two threads work on neighbouring heads, whose rows share pages and what processors fetch ahead: backward
  // took 4 % longer, and 13 % where the two cores share no third-level cache.
  void work(size_t own) {
    inside_ = true;
    try {
      for (size_t i = 0; i < shares_.size(); i++) {
        Share& share = shares_[(own + i) % shares_.size()];
        for (int64_t at; (at = share.next.fetch_add(1, std::memory_order_relaxed)) < share.end;) task_(data_, at);
      }
    } catch (...) {
      {
        std::lock_guard<std::mutex> lock(sleep_);
        if (!failure_) failure_ = std::current_exception();
      }
      for (Share& share : shares_) share.next = share.end;
    }
    inside_ = false;
  }

  void wake(int64_t wanted) {
    const int64_t asleep = asleep_;
    if (asleep == 0) return;
    { std::lock_guard<std::mutex> lock(sleep_); }
    if (wanted >= asleep) return awake_.notify_all();
    for (int64_t i = 0; i < wanted; i++) awake_.notify_one();
  }

  // Returns whether it took longer than a worker with a core of its own would.
  bool wait_for_workers() {
    constexpr int kShort = 1 << 10;
    Clock::time_point since;
    for (int64_t i = 0; inside_count_ > 0; i++) {
      relax();
      if (i == kShort) since = Clock::now();
    }
    return since != Clock::time_point() && Clock::now() - since > kStall;
  }

  // Workers that wait behind the caller on its own core, where systems wake them up, would miss region after region: some
  // look for an idle core every few milliseconds only, and a token of a model takes no longer. They keep off that core.
  void spread() {
    if (++missed_ < kMissed) return;
    missed_ = 0;
    const int core = current_core();
    if (core != kept_off_ && Clock::now() > crowded_until_) keep_workers_off(core);
  }

  // Where there are more programs than cores, a worker that may go anywhere holds its region up the least.
  void leave_alone() {
    crowded_until_ = Clock::now() + kCrowded;
    if (kept_off_ >= 0) keep_workers_off(-1);
  }

  void keep_workers_off(int core) {
    kept_off_ = core;
    for (std::thread& worker : workers_) keep_off(worker, core);
  }

  void start() {
    if (!workers_.empty()) return;
    stop_ = false;
    missed_ = 0;
    kept_off_ = -1;
    if (shares_.size() != static_cast<size_t>(threads())) shares_ = std::vector<Share>(threads());
    try {
      for (int i = 1; i < threads(); i++) workers_.emplace_back([this, i] { serve(i); });
    } catch (const std::system_error&) {
      // The system gives no more threads: the caller and those that started do the work.
    }
  }

  void join() {
    stop_ = true;
    { std::lock_guard<std::mutex> lock(sleep_); }
    awake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
    workers_.clear();
  }

  void serve(size_t own) {
    uint64_t seen = 0;
    while (wait(seen)) {
      seen = epoch_;
      inside_count_++;
      if (open_) {
        joined_++;
        const SubnormalScope scope(mode_);
        work(own);
      }
      inside_count_--;
    }
  }

  // Waits for an epoch other than `seen`; false when the pool stops.
  bool wait(uint64_t seen) {
    const auto end = std::chrono::steady_clock::now() + kSpin;
    do {
      for (int i = 0; i < 64; i++) {
        if (stop_) return false;
        if (epoch_ != seen) return true;
        relax();
      }
    } while (std::chrono::steady_clock::now() < end);
    std::unique_lock<std::mutex> lock(sleep_);
    asleep_++;
    awake_.wait(lock, [&] { return stop_ || epoch_ != seen; });
    asleep_--;
    return !stop_;
  }

  std::atomic<int> threads_;
  int users_ = 0;
  std::vector<std::thread> workers_;
  std::mutex lifecycle_, region_, sleep_;
  std::condition_variable awake_;

  // The region being run. `epoch_`, `open_` and `inside_count_` are sequentially consistent: see `run` and `wake`.
  std::vector<Share> shares_;  // one per thread, the caller's first
  void (*task_)(void*, int64_t) = nullptr;
  void* data_ = nullptr;
  std::exception_ptr failure_;  // the first that a task threw
  SubnormalMode mode_ = 0;  // the caller's, which all threads take
  int missed_ = 0;          // regions in a row that not all workers came to
  int kept_off_ = -1;       // the core that workers keep off
  Clock::time_point crowded_until_;
  alignas(64) std::atomic<uint64_t> epoch_{0};
  std::atomic<bool> open_{false}, stop_{false};
  alignas(64) std::atomic<int> inside_count_{0};
  std::atomic<int> joined_{0};  // workers that came to the region
  std::atomic<int> asleep_{0};

  static thread_local bool inside_;
};

thread_local bool Pool::inside_ = false;

// Never destroyed: threads may still run while the process exits.
Pool& pool() {
  static Pool* const instance = new Pool(available_cores());
  return *instance;
}

void run(const Context&, int64_t tasks, void (*task)(void*, int64_t), void* data) { pool().run(tasks, task, data); }

void* scratch(int slot, int64_t bytes) { return own_scratch.get(slot, bytes); }

[[noreturn]] void fail(const char* reason) { throw std::invalid_argument(reason); }

}  // namespace

int num_threads() { return pool().threads(); }
void set_num_threads(int n) { pool().resize(n); }
int64_t scratch_bytes() { return Scratch::total(); }
void trim_own_scratch() { own_scratch.clear(); }
void trim_scratch() {
  own_scratch.clear();
  pool().end_workers();
}
void pool_enter() { pool().enter(); }
void pool_leave() { pool().leave(); }
Context pool_context() { return {pool().threads(), run, scratch, fail}; }

}  // namespace fw
