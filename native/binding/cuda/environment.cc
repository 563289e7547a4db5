// Blocks and copies of one environment.
#include "environment.h"

#include <cstdlib>
#include <stdexcept>

#include "../kept_calls.h"

namespace fw {

namespace cuda {
extern const KernelTable table;
}

namespace {

#define FW_FOLLOWS(name) FollowsIndices<name##Args>::kernel != nullptr,
constexpr bool kFollowsIndices[] = {FW_KERNELS(FW_FOLLOWS)};
#undef FW_FOLLOWS

// Fewer launches are no work to save.
constexpr size_t kFewestLaunches = 4;

// Whether a call is the same launches each time.
bool is_fixed(const KeptCalls& calls, size_t i) {
  const int32_t kernel = calls.kernel(i);
  return kernel != KeptCalls::kWrite && !kFollowsIndices[kernel] && !calls.grows(i);
}

std::vector<Repeated::Run> runs_of(const KeptCalls& calls) {
  std::vector<Repeated::Run> runs;
  for (size_t begin = 0, end = 0; begin < calls.count(); begin = end) {
    const bool fixed = is_fixed(calls, begin);
    for (end = begin + 1; end < calls.count() && is_fixed(calls, end) == fixed;) end++;
    runs.push_back({begin, end, fixed && end - begin >= kFewestLaunches, nullptr});
  }
  return runs;
}

// Sets a variable until the end of a scope.
template <class T>
class Set {
 public:
  Set(T& variable, T value) : variable_(variable) { variable = value; }
  ~Set() { variable_ = T{}; }

 private:
  T& variable_;
};

}  // namespace

Environment::Environment(int at) : at_(at) {
  const char* const poison = std::getenv("FAST_WEIGHTS_POISON");
  poison_ = poison && *poison;
}

void Environment::close() {
  completions_.stop();
  if (!card_) return;
  faults_.close(card());
  for (Block block : blocks_.remove_all()) card().free(block);
}

const cuda::KernelTable& Environment::table() const { return cuda::table; }

void Environment::repeat(KeptCalls& calls) {
  std::vector<Repeated::Run>& runs = calls.repeated.runs;
  if (runs.empty()) runs = runs_of(calls);
  for (Repeated::Run& run : runs) {
    // Products of a training step may be a library's; of what reads a failed tensor, nothing runs.
    if (run.as_graph && !training_ && !faults_.any()) {
      if (start_graph(calls, run)) continue;
      run.as_graph = false;
      run.graph.reset();
    }
    for (size_t i = run.begin; i < run.end; i++) calls.launch(*this, i);
  }
}

bool Environment::start_graph(KeptCalls& calls, Repeated::Run& run) {
  const auto each = [&] {
    for (size_t i = run.begin; i < run.end; i++) calls.launch(*this, i);
  };
  if (run.graph) {
    const Set<bool> started(started_, true);
    each();
  } else {
    auto graph = std::make_unique<Graph>(card());
    if (!card().begin_capture(*graph)) return false;
    {
      const Set<Graph*> captured(captured_, graph.get());
      each();
    }
    if (!card().end_capture(*graph)) return false;
    run.graph = std::move(graph);
  }
  return card().launch(*run.graph);
}

uint64_t Environment::allocate(int64_t bytes) {
  if (bytes < 0) throw std::invalid_argument("a block of less than nothing");
  Block block = card().allocate(bytes, poison_);
  block.size = bytes;
  return block.data ? blocks_.add(block) : 0;
}

bool Environment::free(uint64_t id) {
  card().free(blocks_.remove(id));
  faults_.forget(id);
  return false;
}

void Environment::copy_from(uint64_t to, int64_t at, Environment& source, uint64_t from, int64_t offset, int64_t bytes) {
  char* const target = blocks_.range(to, at, bytes);
  const char* const origin = source.blocks_.range(from, offset, bytes);
  if (!faults_.follow(card(), to, source.faults_, source.card(), from)) return;
  if (bytes > 0) source.card().copy_to(card(), target, origin, bytes);
}

void Environment::write(uint64_t id, int64_t offset, const void* data, int64_t bytes) {
  card().write(blocks_.range(id, offset, bytes), data, bytes);
  if (bytes == blocks_.find(id).size) faults_.forget(id);
}

void Environment::read(uint64_t id, int64_t offset, void* data, int64_t bytes) {
  const auto download = card().start_download(static_cast<char*>(data), blocks_.range(id, offset, bytes), bytes);
  const auto question = faults_.ask(card(), id);
  download->finish();
  faults_.answer(*question);
}

Napi::Value Environment::read_async(Napi::Value keep, Promises& promises, uint64_t id, int64_t offset, void* data,
                                    int64_t bytes) {
  const auto download = card().start_download(static_cast<char*>(data), blocks_.range(id, offset, bytes), bytes);
  const auto question = faults_.ask(card(), id);
  return promises.after(keep.Env(), completions_, keep, [this, download, question] {
    download->finish();
    faults_.answer(*question);
  });
}

Napi::Value Environment::synchronize(Napi::Env env, Promises& promises) {
  const auto end = card().start_download(nullptr, nullptr, 0);
  return promises.after(env, completions_, env.Undefined(), [end] { end->finish(); });
}

void Environment::report_memory(Napi::Object report) {
  const Card::Usage usage = card().usage();
  report["live"] = static_cast<double>(usage.live);
  report["peak"] = static_cast<double>(usage.peak);
  report["cached"] = static_cast<double>(usage.cached);
  report["scratch"] = 0;
  report["free"] = static_cast<double>(usage.free);
  report["total"] = static_cast<double>(usage.total);
}

}  // namespace fw
