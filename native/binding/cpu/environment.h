// What one JavaScript environment (the main thread, a worker) owns of the addon: memory, a queue, a kernel table.
#pragma once
#include <napi.h>

#include <string>
#include <type_traits>

#include "../../cpu/pool.h"
#include "../../cpu/subnormals.h"
#include "../failures.h"
#include "../promises.h"
#include "../queue.h"
#include "allocator.h"
#include "contents.h"
#include "cost.h"

namespace fw {

class KeptCalls;
// What is kept of calls that are made again and again: nothing beside them.
struct Repeated {};

class Environment {
 public:
  Environment();
  ~Environment() { close(); }

  // Stops the queue. Later calls throw.
  void close();

  const std::string& instruction_set() const { return instruction_set_; }
  // Throws std::invalid_argument for a set that is unknown or that this processor lacks.
  void use_instruction_set(const std::string& name);
  const KernelTable& table() const { return *table_; }

  const Blocks& blocks() const { return blocks_; }
  Queue& queue() { return queue_; }

  // 0 when there is no memory left, not even after the cache was given back.
  uint64_t allocate(int64_t bytes);
  // Returns whether `settle` should be called in a second.
  bool free(uint64_t id);
  void write(uint64_t id, int64_t offset, const void* data, int64_t bytes);
  void read(uint64_t id, int64_t offset, void* data, int64_t bytes);
  // The promise resolves when the bytes are in `data`, which `keep` keeps alive.
  Napi::Value read_async(Napi::Value keep, Promises& promises, uint64_t id, int64_t offset, void* data, int64_t bytes);
  // The promise resolves when everything queued so far has run.
  Napi::Value synchronize(Napi::Env env, Promises& promises);
  // Gives cached blocks and the scratch memory of idle threads back to the system once the queue has passed this point.
  void trim();
  // Gives back what was cached for a need that is over; returns whether there will be more of it in a second.
  bool settle();
  void report_memory(Napi::Object report) const;

  // Small work on an idle queue runs here and now, and throws here and now; the rest runs in order on the dispatcher, and
  // its failure is thrown by the reads that depend on it. `owned` is memory that the arguments point into.
  template <class Args, class Owned>
  void launch(void (*kernel)(const Context&, const Args&), const Args& args, Owned owned, const Uses& uses) {
    if (queue_.idle() && cost(args) < kInlineCost) {
      if (const std::exception_ptr failure = run(kernel, args, uses)) std::rethrow_exception(failure);
    } else {
      queue_.push([this, kernel, args, owned = std::move(owned), uses = uses.list()] { run(kernel, args, uses); });
    }
  }

  // Makes calls again, in order.
  void repeat(KeptCalls& calls);

 private:
  // Returns what the call failed with, and marks what it should have written. A call on failed operands does not run.
  template <class Args, class List>
  std::exception_ptr run(void (*kernel)(const Context&, const Args&), const Args& args, const List& uses) {
    if (failures_.any() && failures_.inherit(uses)) return nullptr;
    const std::exception_ptr failure = attempt(kernel, args);
    if (failure) failures_.record(uses, failure);
    else if (failures_.any()) failures_.heal(uses);
    return failure;
  }
  // Whether a kernel moves a state on that may decay for ever.
  template <class Args>
  static constexpr bool decays() {
    return std::is_same_v<Args, recurrenceArgs> || std::is_same_v<Args, recurrenceBackwardArgs> ||
           std::is_same_v<Args, recurrenceStepArgs> || std::is_same_v<Args, lstmCellArgs>;
  }
  template <class Args>
  static std::exception_ptr attempt(void (*kernel)(const Context&, const Args&), const Args& args) {
    try {
      check_contents(args);
      if constexpr (decays<Args>()) {
        const SubnormalScope scope(kFlushSubnormals);
        kernel(pool_context(), args);
      } else {
        kernel(pool_context(), args);
      }
      return nullptr;
    } catch (const std::bad_alloc&) {
      return std::make_exception_ptr(OutOfMemory(std::string(name_of(args)) + ": the system has no memory left"));
    } catch (const std::invalid_argument& error) {
      return std::make_exception_ptr(std::invalid_argument(std::string(name_of(args)) + ": " + error.what()));
    } catch (...) {
      return std::current_exception();
    }
  }
  // Runs `action`, which throws nothing, at once on an idle queue, else in its order.
  template <class Action>
  void in_order(Action action) {
    if (queue_.idle()) action();
    else queue_.push(std::move(action));
  }

  void forget_freed();
  void shrink();

  bool closed_ = false;
  bool poison_;
  std::string instruction_set_;
  const KernelTable* table_;
  Allocator memory_;
  Blocks blocks_;
  Failures failures_;
  Queue queue_;  // destroyed before what its commands use
};

}  // namespace fw
