// What one JavaScript environment (the main thread, a worker) owns of a card: its blocks, and the thread that waits for
// what it reads.
#pragma once
#include <napi.h>

#include "../blocks.h"
#include "../promises.h"
#include "../queue.h"
#include "../uses.h"
#include "card.h"
#include "index_faults.h"
#include "repeated.h"

namespace fw {

class KeptCalls;

class Environment {
 public:
  // Of the card at a position among found_cards(), which is opened when it is first needed.
  explicit Environment(int at = 0);
  ~Environment() { close(); }

  int at() const { return at_; }

  // Gives its blocks back. Later calls throw.
  void close();

  const cuda::KernelTable& table() const;
  const Blocks& blocks() const { return blocks_; }

  // 0 when there is no memory left, not even after the cache was given back.
  uint64_t allocate(int64_t bytes);
  // A card keeps what it has until it is asked for, or has no room.
  bool free(uint64_t id);
  // Overwrites bytes of a block with those of another card's block, and lets it depend on what that depends on.
  void copy_from(uint64_t to, int64_t at, Environment& source, uint64_t from, int64_t offset, int64_t bytes);
  bool settle() { return false; }
  void write(uint64_t id, int64_t offset, const void* data, int64_t bytes);
  void read(uint64_t id, int64_t offset, void* data, int64_t bytes);
  // The promise resolves when the bytes are in `data`, which `keep` keeps alive.
  Napi::Value read_async(Napi::Value keep, Promises& promises, uint64_t id, int64_t offset, void* data, int64_t bytes);
  // The promise resolves when everything queued so far has run.
  Napi::Value synchronize(Napi::Env env, Promises& promises);
  void trim() { card().trim(); }
  // For the kernels that are called from now on.
  void use_cublas(bool training) {
    if (training) card().open_library();
    training_ = training;
  }
  Card::Library library() { return card().library(); }
  void report_memory(Napi::Object report);

  // `owned` is memory that the arguments point into; kernels take it along by value.
  template <class Args, class Owned>
  void launch(void (*kernel)(const cuda::Context&, const Args&), const Args& args, Owned, const Uses& uses) {
    faults_.call<Args>(card(), uses, [&](cuda::IndexFault* fault) {
      if (captured_) card().capture(*captured_, kernel, args);
      else if (started_) card().note(args);
      else card().launch(kernel, args, training_, fault);
    });
  }
  // Makes calls again, in order.
  void repeat(KeptCalls& calls);

 private:
  Card& card() {
    if (!card_) card_ = &Card::get(at_);
    return *card_;
  }

  bool start_graph(KeptCalls& calls, Repeated::Run& run);

  const int at_;
  Card* card_ = nullptr;
  // Of the calls that are being made again: where their launches go, and whether a graph starts them.
  Graph* captured_ = nullptr;
  bool started_ = false;
  bool poison_, training_ = false;
  Blocks blocks_;
  IndexFaults faults_;
  Queue completions_;  // its commands wait for downloads, in their order
};

}  // namespace fw
