// What one JavaScript environment (the main thread, a worker) owns of the addon: memory, a queue, a kernel table.
#pragma once
#include <napi.h>

#include <string>

#include "../../cpu/pool.h"
#include "../promises.h"
#include "../queue.h"
#include "allocator.h"
#include "cost.h"

namespace fw {

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
  void free(uint64_t id) { memory_.free(blocks_.remove(id)); }
  void write(uint64_t id, int64_t offset, const void* data, int64_t bytes);
  void read(uint64_t id, int64_t offset, void* data, int64_t bytes);
  // The promise resolves when the bytes are in `data`, which `keep` keeps alive.
  Napi::Value read_async(Napi::Value keep, Promises& promises, uint64_t id, int64_t offset, void* data, int64_t bytes);
  // The promise resolves when everything queued so far has run.
  Napi::Value synchronize(Napi::Env env, Promises& promises);
  // Gives cached blocks back to the system once the queue has passed this point.
  void trim();
  void report_memory(Napi::Object report) const;

  // Small work on an idle queue runs here and now; the rest in order on the dispatcher.
  // `owned` is memory that the arguments point into.
  template <class Args, class Owned>
  void launch(void (*kernel)(const Context&, const Args&), const Args& args, Owned owned) {
    if (queue_.idle() && cost(args) < kInlineCost) kernel(pool_context(), args);
    else queue_.push([kernel, args, owned = std::move(owned)] { kernel(pool_context(), args); });
  }

 private:
  // The block's memory from `offset` on; throws when `bytes` do not fit there.
  char* range(uint64_t id, int64_t offset, int64_t bytes) const;

  bool closed_ = false;
  bool poison_;
  std::string instruction_set_;
  const KernelTable* table_;
  Allocator memory_;
  Blocks blocks_;
  Queue queue_;  // destroyed before the memory that its commands use
};

}  // namespace fw
