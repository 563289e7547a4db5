#include "block.h"

#include <string.h>
#include <sys/mman.h>

#include <algorithm>

#include "banks.h"
#include "clocks.h"
#include "copies.h"
#include "device.h"
#include "findings.h"
#include "mbarrier.h"
#include "shadow.h"
#include "warpgroup.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

namespace emulation {

namespace {
#ifdef __SANITIZE_ADDRESS__
constexpr size_t kStack = 256 << 10;
#else
constexpr size_t kStack = 64 << 10;
#endif
constexpr size_t kPage = 4096;

Fibre scheduler;
Work work;
bool failed;
uint64_t seed = 0, random_state = 1;

// The stacks lie one after another, each with a page below it that must not be touched. Their tops differ in their
// position in a page, lest they all meet in the same sets of the cache.
unsigned char* stacks = nullptr;
void prepare_stacks() {
  if (stacks) return;
  stacks = reserve(kMostThreads * kStack);
  for (int i = 0; i < kMostThreads; i++) mprotect(stacks + i * kStack, kPage, PROT_NONE);
}
unsigned char* stack_of(int thread) { return stacks + thread * kStack + kPage; }
size_t stack_bytes(int thread) { return kStack - kPage - static_cast<size_t>(thread * 5 % 16) * 256; }

uint32_t all_warps() { return block.warps == 32 ? ~0u : (1u << block.warps) - 1; }

// A set bit of a mask: the first, or with a seed a random one.
int choose(uint32_t mask) {
  if (seed == 0) return __builtin_ctz(mask);
  const uint32_t shift = random_below(32), rotated = mask >> shift | mask << (-shift & 31);
  return static_cast<int>((static_cast<uint32_t>(__builtin_ctz(rotated)) + shift) & 31);
}
int choose_thread(uint32_t warps) {
  const int w = choose(warps);
  return w * kLanes + choose(block.warp[w].ready);
}

void set_ready(int thread) {
  block.warp[thread / kLanes].ready |= 1u << thread % kLanes;
  block.ready |= 1u << thread / kLanes;
}

void go_to(int thread, Fibre& from) {
  block.current = thread;
  block.stack = stack_of(thread);
  block.stack_bytes = kStack - kPage;
  Warp& warp = block.running_warp();
  warp.ready &= ~(1u << thread % kLanes);
  if (warp.ready == 0) block.ready &= ~(1u << thread / kLanes);
  block.fibre[thread].enter(from);
}

[[noreturn]] void deadlock() {
  constexpr size_t kLong = 400;
  std::string text;
  for (int w = 0; w < block.warps && text.size() < kLong; w++) {
    const Warp& warp = block.warp[w];
    const auto lanes = [&](int count, const std::string& where) {
      if (count == 0) return;
      text += (text.empty() ? "" : ", ") + std::to_string(count) + " lanes of warp " + std::to_string(w) + where;
    };
    lanes(warp.arrived, " at " + text_of(warp.place));
    const Place* const asleep = block.asleep + w * kLanes;
    for (const Place *place = asleep, *end = asleep + kLanes; place < end; place++) {
      if (!place->primitive || std::count(asleep, place, *place) > 0) continue;
      lanes(static_cast<int>(std::count(place, end, *place)), " at " + text_of(*place));
    }
    lanes(__builtin_popcount(warp.at_barrier), " at " + text_of(block.place));
    lanes(__builtin_popcount(warp.returned), " have returned");
  }
  fail(cudaErrorLaunchFailure, "deadlock", text);
}

// Leaves the running thread, which waits, for another: of the same warp if there is one.
void leave() {
  const uint32_t own = block.running_warp().ready;
  Fibre& from = block.fibre[block.current];
  if (own) return go_to(block.current / kLanes * kLanes + choose(own), from);
  if (!block.ready) deadlock();
  go_to(choose_thread(block.ready), from);
}

// With a seed, now and then another warp goes on.
void maybe_turn() {
  constexpr uint32_t kBurst = 24;
  if (seed == 0 || random_below(kBurst) != 0) return;
  const int own = block.current;
  set_ready(own);
  const int other = choose_thread(block.ready);
  if (other != own) return go_to(other, block.fibre[own]);
  block.running_warp().ready &= ~(1u << own % kLanes);
  if (block.running_warp().ready == 0) block.ready &= ~(1u << own / kLanes);
}

void thread_entry() {
  Fibre::entered();
  work.run(work.args, block.shared);
  end_copies(block.current);
  block.running_warp().returned |= 1u << block.current % kLanes;
  if (++block.returned == block.threads) {
    end_mbarriers();
    end_products();
    scheduler.enter(block.fibre[block.current]);
  }
  leave();
  __builtin_unreachable();
}

void next_epoch() {
  block.epoch++;
  forget_clocks();
  forget_readers();
  forget_arrivals();
  for (int w = 0; w < block.warps && count_banks; w++) settle_accesses(w);
}

void run_block(int64_t index) {
  block.index = index;
  block.arrived = block.returned = 0;
  next_epoch();
  block.first_epoch = block.epoch;
  memset(block.shared, kPoison, block.shared_bytes);
  for (int t = 0; t < block.threads; t++) {
    block.fibre[t].prepare(stack_of(t), stack_bytes(t), thread_entry);
    forget_copies(t);
    block.asleep[t] = {};
  }
  forget_mbarriers();
  forget_products();
  for (int w = 0; w < block.warps; w++) {
    Warp& warp = block.warp[w];
    warp.ready = ~0u;
    warp.arrived = 0;
    warp.returned = warp.at_barrier = 0;
  }
  block.ready = all_warps();
  go_to(choose_thread(block.ready), scheduler);
}
}  // namespace

Block block;

void set_seed(uint64_t value) { seed = value; }
uint32_t random_below(uint32_t n) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return static_cast<uint32_t>((random_state >> 32) * n >> 32);
}

void run_blocks(const Work& given) {
  static unsigned char* const shared = reserve(kMostShared);
  prepare_stacks();
  prepare_shadow();
  work = given;
  failed = false;
  random_state = (seed + 1) * 0x9E3779B97F4A7C15u | 1;
  block.blocks = work.blocks;
  block.threads = work.threads;
  block.warps = work.threads / kLanes;
  block.shared = shared;
  block.shared_bytes = work.shared_bytes;
  block.args = static_cast<const unsigned char*>(work.args);
  block.args_bytes = work.args_bytes;
  block.memory = device_memory(current_device());
  block.launch_epoch = block.epoch + 1;
#ifdef __SANITIZE_ADDRESS__
  __asan_unpoison_memory_region(shared, work.shared_bytes);
  __asan_poison_memory_region(shared + work.shared_bytes, kMostShared - work.shared_bytes);
#endif
  for (int64_t i = 0; i < work.blocks && !failed; i++) run_block(i);
  next_epoch();
  block.shared_bytes = block.args_bytes = block.stack_bytes = 0;
}

void fail(cudaError_t code, const char* kind, const std::string& text, PlaceId place) {
  add_fact(kind, text, place);
  die(code);
  failed = true;
  scheduler.enter(block.fibre[block.current]);
  __builtin_unreachable();
}

void meet(const Place& place, const void* in, void* out, void (*act)(const void* const* in, void* const* out)) {
  Warp& warp = block.running_warp();
  const int own = block.current, lane = own % kLanes;
  if (warp.arrived == 0) warp.place = place;
  else if (!(warp.place == place)) {
    fail(cudaErrorLaunchFailure, "divergence", "lanes of warp " + std::to_string(own / kLanes) + " at " +
                                                   text_of(warp.place) + " and at " + text_of(place));
  }
  warp.in[lane] = in;
  warp.out[lane] = out;
  if (++warp.arrived < kLanes) return leave();
  warp.arrived = 0;
  site_at(place).reached++;
  if (count_banks) settle_accesses(own / kLanes);
  act(warp.in, warp.out);
  warp.ready = ~(1u << lane);
  block.ready |= 1u << own / kLanes;
  maybe_turn();
}

void sleep_at(const Place& place) {
  block.asleep[block.current] = place;
  leave();
}
void wake(int thread) {
  block.asleep[thread] = {};
  set_ready(thread);
}

void meet_block(const Place& place) {
  if (block.arrived == 0) block.place = place;
  else if (!(block.place == place)) {
    fail(cudaErrorLaunchFailure, "divergence", "threads at " + text_of(block.place) + " and at " + text_of(place));
  }
  const int own = block.current;
  block.running_warp().at_barrier |= 1u << own % kLanes;
  if (++block.arrived < block.threads) return leave();
  block.arrived = 0;
  site_at(place).reached++;
  next_epoch();
  for (int w = 0; w < block.warps; w++) {
    block.warp[w].ready = ~0u;
    block.warp[w].at_barrier = 0;
  }
  block.running_warp().ready &= ~(1u << own % kLanes);
  block.ready = all_warps();
  maybe_turn();
}

}  // namespace emulation
