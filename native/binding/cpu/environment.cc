// Allocation, copies and the choice of an instruction set for one environment.
#include "environment.h"

#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>

#include "instruction_sets.h"

namespace fw {
namespace {

// Copies up to this size happen at once when nothing is queued.
constexpr int64_t kInlineCopy = 1 << 20;

}  // namespace

Environment::Environment() : poison_(std::getenv("FAST_WEIGHTS_POISON") != nullptr) {
  for (const InstructionSet& set : instruction_sets()) {
    if (set.supported) {
      instruction_set_ = set.name;
      table_ = set.table;
    }
  }
  pool_enter();
}

void Environment::close() {
  if (closed_) return;
  closed_ = true;
  queue_.stop();
  pool_leave();
  for (Block block : blocks_.remove_all()) memory_.free(block);
}

void Environment::use_instruction_set(const std::string& name) {
  std::string names;
  for (const InstructionSet& set : instruction_sets()) {
    if (!set.supported) continue;
    if (name == set.name) {
      instruction_set_ = name;
      table_ = set.table;
      return;
    }
    names += names.empty() ? set.name : std::string(", ") + set.name;
  }
  throw std::invalid_argument("this processor runs the instruction sets " + names + ", not '" + name + "'");
}

uint64_t Environment::allocate(int64_t bytes) {
  Block block = memory_.allocate(bytes);
  if (!block.data) {
    trim();
    queue_.drain();
    block = memory_.allocate(bytes);
    if (!block.data) return 0;
  } else if (memory_.bloated()) {
    trim();
  }
  if (poison_) {
    // All ones is NaN in every floating-point format. A reused block may still serve a queued kernel.
    if (queue_.idle()) std::memset(block.data, 0xff, block.bytes);
    else queue_.push([block] { std::memset(block.data, 0xff, block.bytes); });
  }
  return blocks_.add(block);
}

char* Environment::range(uint64_t id, int64_t offset, int64_t bytes) const {
  const Block& block = blocks_.find(id);
  if (offset < 0 || bytes < 0 || offset > block.bytes - bytes) throw std::out_of_range("a copy outside its block");
  return block.data + offset;
}

void Environment::write(uint64_t id, int64_t offset, const void* data, int64_t bytes) {
  char* const to = range(id, offset, bytes);
  if (bytes == 0) return;
  if (queue_.idle()) {
    std::memcpy(to, data, bytes);
    return;
  }
  std::unique_ptr<char[]> staged(new char[bytes]);
  std::memcpy(staged.get(), data, bytes);
  queue_.push([to, bytes, staged = std::move(staged)] { std::memcpy(to, staged.get(), bytes); });
}

void Environment::read(uint64_t id, int64_t offset, void* data, int64_t bytes) {
  const char* const from = range(id, offset, bytes);
  queue_.drain();
  queue_.rethrow();
  if (bytes > 0) std::memcpy(data, from, bytes);
}

Napi::Value Environment::read_async(Napi::Value keep, Promises& promises, uint64_t id, int64_t offset, void* data,
                                    int64_t bytes) {
  const char* const from = range(id, offset, bytes);
  const auto copy = [data, from, bytes] {
    if (bytes > 0) std::memcpy(data, from, bytes);
  };
  if (!queue_.idle() || bytes > kInlineCopy) return promises.after(keep.Env(), queue_, keep, copy);
  copy();
  return promises.settled(keep.Env(), queue_.take_failure());
}

Napi::Value Environment::synchronize(Napi::Env env, Promises& promises) {
  if (queue_.idle()) return promises.settled(env, queue_.take_failure());
  return promises.after(env, queue_, env.Undefined(), [] {});
}

void Environment::trim() {
  std::vector<Block> blocks = memory_.take_cached();
  if (queue_.idle()) Allocator::release(blocks);
  else queue_.push([blocks = std::move(blocks)] { Allocator::release(blocks); });
}

void Environment::report_memory(Napi::Object report) const {
  report["live"] = static_cast<double>(memory_.usage().live);
  report["peak"] = static_cast<double>(memory_.usage().peak);
  report["cached"] = static_cast<double>(memory_.usage().cached);
}

}  // namespace fw
