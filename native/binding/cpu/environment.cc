// Allocation, copies and the choice of an instruction set for one environment.
#include "environment.h"

#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>

#include "../../cpu/redzone.h"
#include "../kept_calls.h"
#include "instruction_sets.h"

namespace fw {
namespace {

// Copies up to this size happen at once when nothing is queued.
constexpr int64_t kInlineCopy = 1 << 20;

}  // namespace

Environment::Environment() : poison_(kRedZones || std::getenv("FAST_WEIGHTS_POISON") != nullptr) {
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
  if (bytes < 0) throw std::invalid_argument("a block of less than nothing");
  Block block = memory_.allocate(bytes);
  if (!block.data) {
    trim();
    queue_.drain();
    block = memory_.allocate(bytes);
    if (!block.data) return 0;
  } else {
    shrink();
  }
  if (poison_) {
    // A reused block may still serve a queued kernel.
    in_order([block, bytes] {
      open_zone(block.data, bytes, block.bytes);
      fill_with_nan(block.data, kRedZones ? bytes : block.bytes);
    });
  }
  block.size = bytes;
  return blocks_.add(block);
}

bool Environment::free(uint64_t id) {
  const Block block = blocks_.remove(id);
  if (kRedZones) in_order([block] { close_zone(block.data, block.bytes); });
  memory_.free(block);
  if (failures_.any()) in_order([this, id] { failures_.forget(id); });
  return memory_.may_bloat();
}

void Environment::write(uint64_t id, int64_t offset, const void* data, int64_t bytes) {
  char* const to = blocks_.range(id, offset, bytes);
  const bool whole = bytes == blocks_.find(id).size;
  if (queue_.idle()) {
    if (bytes > 0) std::memcpy(to, data, bytes);
    if (whole && failures_.any()) failures_.forget(id);
    return;
  }
  std::unique_ptr<char[]> staged(new char[bytes]);
  if (bytes > 0) std::memcpy(staged.get(), data, bytes);
  queue_.push([this, id, to, bytes, whole, staged = std::move(staged)] {
    if (bytes > 0) std::memcpy(to, staged.get(), bytes);
    if (whole && failures_.any()) failures_.forget(id);
  });
}

void Environment::read(uint64_t id, int64_t offset, void* data, int64_t bytes) {
  const char* const from = blocks_.range(id, offset, bytes);
  queue_.drain();
  if (failures_.any()) forget_freed();
  failures_.rethrow(id);
  if (bytes > 0) std::memcpy(data, from, bytes);
}

// What failed after its block was freed.
void Environment::forget_freed() {
  failures_.forget_if([this](uint64_t id) { return !blocks_.live(id); });
}

Napi::Value Environment::read_async(Napi::Value keep, Promises& promises, uint64_t id, int64_t offset, void* data,
                                    int64_t bytes) {
  const char* const from = blocks_.range(id, offset, bytes);
  const auto copy = [this, id, data, from, bytes] {
    failures_.rethrow(id);
    if (bytes > 0) std::memcpy(data, from, bytes);
  };
  if (!queue_.idle() || bytes > kInlineCopy) return promises.after(keep.Env(), queue_, keep, copy);
  if (failures_.any()) forget_freed();
  try {
    copy();
  } catch (...) {
    return promises.settled(keep.Env(), std::current_exception());
  }
  return promises.settled(keep.Env(), nullptr);
}

Napi::Value Environment::synchronize(Napi::Env env, Promises& promises) {
  if (queue_.idle()) return promises.settled(env, nullptr);
  return promises.after(env, queue_, env.Undefined(), [] {});
}

void Environment::repeat(KeptCalls& calls) {
  for (size_t i = 0; i < calls.count(); i++) calls.launch(*this, i);
}

void Environment::trim() {
  in_order([blocks = memory_.take_cached()] {
    Allocator::release(blocks);
    trim_scratch();
  });
  // The dispatcher has its own, and so has this thread, whichever ran the command above.
  queue_.push([] { trim_own_scratch(); });
  trim_own_scratch();
}

void Environment::shrink() {
  if (!memory_.bloated()) return;
  in_order([blocks = memory_.take_excess()] { Allocator::release(blocks); });
}

bool Environment::settle() {
  shrink();
  return memory_.may_bloat();
}

void Environment::report_memory(Napi::Object report) const {
  report["live"] = static_cast<double>(memory_.usage().live);
  report["peak"] = static_cast<double>(memory_.usage().peak);
  report["cached"] = static_cast<double>(memory_.usage().cached);
  report["scratch"] = static_cast<double>(scratch_bytes());
}

}  // namespace fw
