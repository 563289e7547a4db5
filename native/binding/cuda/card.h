// A graphics card, one object for the whole process: its stream, its memory, and whether it is still well. Environments
// of several threads put their work onto the one stream in turn, under its mutex; what waits for the card, or for the host
// to pin memory, does so without it.
#pragma once
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "../../cuda/context.h"
#include "../../cuda/cublas.h"
#include "../errors.h"
#include "found_cards.h"
#include "graph.h"
#include "launches.h"
#include "memory.h"
#include "staging.h"

namespace fw {

class Card {
 public:
  // Of the card at a position among found_cards(). Looks once, at the first call: a card counts as there to use when it
  // has given this process a context.
  static const CardFacts& facts(int at);
  // Opens it at the first call. Throws std::runtime_error with the reason when there is no card to use.
  static Card& get(int at);

  // One without data when there is no room.
  Block allocate(int64_t bytes, bool poison);
  void free(Block block);
  void trim();
  void write(void* to, const void* from, int64_t bytes);
  // Queues a copy into the memory of another card: after what was queued on either, before what will be.
  void copy_to(Card& other, void* to, const void* from, int64_t bytes);

  // A copy to the host on its way: `finish` waits for it and puts it where it belongs. It may as well be dropped.
  class Download {
   public:
    explicit Download(Card& card) : card_(card) {}
    Download(const Download&) = delete;
    ~Download();
    void finish() const;

   private:
    friend class Card;
    struct Piece {
      Staging::Pinned pinned;
      char* to;
      int64_t bytes;
    };
    Card& card_;
    std::vector<Piece> pieces_;
  };
  // An empty one ends when everything before it has.
  std::shared_ptr<const Download> start_download(char* to, const void* from, int64_t bytes);

  // Opens cuBLAS, if that has not been done; throws where it is asked for or there, and does not open.
  void open_library();
  // What multiplies matrices in training.
  struct Library {
    std::string name;  // "cublas 13.1"; "own": the kernels of native/cuda; "none" where open_library throws
    std::string reason;
  };
  Library library();

  // `training`: products may be those of cuBLAS or of warpgroups. `fault` is for what the kernel finds of its indices.
  template <class Args>
  void launch(void (*kernel)(const cuda::Context&, const Args&), const Args& args, bool training,
              cuda::IndexFault* fault) {
    locked([&] {
      launches_.add(args);
      const ScratchOfCall scratch{*this};
      context_.fault = fault;
      context_.cublas = training && cublas_.usable() ? &cublas_ : nullptr;
      context_.warpgroups = training && context_.has_warpgroups;
      kernel(context_, args);
      if (synchronous_) cuda::check("kernel", cudaStreamSynchronize(context_.stream));
    });
  }

  // Between these two calls launches may be captured; false where the graph cannot be made, and the calls are to be launched.
  bool begin_capture(Graph& graph);
  bool end_capture(Graph& graph);
  // Of what no training makes. A launch that fails is left out, and so is the graph then.
  template <class Args>
  void capture(Graph& graph, void (*kernel)(const cuda::Context&, const Args&), const Args& args) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (graph.failed_) return;
    CardContext context = context_;
    context.stream = graph.stream_, context.graph = &graph;
    context.fault = nullptr, context.cublas = nullptr, context.warpgroups = false;
    try {
      choose_device();
      kernel(context, args);
    } catch (const std::exception&) {
      graph.failed_ = true;
    }
    for (Graph::Scratch& scratch : graph.scratch_) scratch.used = false;
  }
  // Starts what was captured, behind everything else; false where nothing was started.
  bool launch(const Graph& graph);
  // Of a graph that is started: named like launches when the card fails.
  template <class Args>
  void note(const Args& args) {
    std::lock_guard<std::mutex> lock(mutex_);
    launches_.add(args);
  }
  // Gives back what a graph has of the card.
  void forget(Graph& graph);

  struct Usage {
    int64_t live, peak, cached, free, total;
  };
  Usage usage();

 private:
  friend struct RevivedCard;  // of the emulation, whose card can be made whole again

  struct CardContext : cuda::Context {
    Card* card;
    Graph* graph = nullptr;  // that is captured
  };
  // Frees what a call has asked for, however the call ends.
  struct ScratchOfCall {
    Card& card;
    ~ScratchOfCall() {
      for (Block block : card.scratch_) card.memory_.free(block);
      card.scratch_.clear();
    }
  };

  explicit Card(const CardFacts& facts);
  void open();
  // The device is chosen for each thread; workers come with their own.
  void choose_device() const;
  // With the mutex: notes how far the stream is, and lets it wait until another's is where that was last noted.
  void mark();
  void wait_for(const Card& other);
  void reach(const Card& other);
  // With the mutex, on a card that is well.
  template <class Action>
  void locked(const Action& action) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!failure_.empty()) throw std::runtime_error(failure_);
    attempt([&] {
      choose_device();
      action();
    });
  }
  // For what may wait.
  template <class Action>
  void unlocked(const Action& action) {
    try {
      choose_device();
      action();
    } catch (const cuda::CudaError&) {
      std::lock_guard<std::mutex> lock(mutex_);
      tell();
    }
  }
  template <class Action>
  void attempt(const Action& action) {
    try {
      action();
    } catch (...) {
      tell();
    }
  }
  // Throws the present exception as what JavaScript is to see. After an error that ends the card's context nothing works
  // any more: says so from then on, with the last launches. The mutex is held.
  [[noreturn]] void tell();
  std::string room() const;
  Block take_scratch(int64_t bytes);
  void* scratch_for(Graph& graph, int64_t bytes);

  const CardFacts& facts_;
  std::mutex mutex_;
  CardContext context_;
  cudaEvent_t mark_ = nullptr;
  std::set<int> reached_;  // cards that this one has been asked to reach, by index
  cuda::Cublas cublas_{};
  CudaMemory memory_;
  Staging staging_;
  Launches launches_;
  std::vector<Block> scratch_;
  std::string failure_;
  bool synchronous_, graphs_;
};

}  // namespace fw
