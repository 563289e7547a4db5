// Blocks and copies of one environment.
#include "environment.h"

#include <cstdlib>
#include <stdexcept>

namespace fw {

namespace cuda {
extern const KernelTable table;
}

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
