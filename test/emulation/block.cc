#include "block.h"

#include <string.h>
#include <sys/mman.h>

#include "device.h"
#include "memory.h"

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
bool failed;
uint64_t seed = 0, random_state = 1;
struct {
  const void* args;
  void (*run)(const void* args, void* shared);
} work;

// The stacks lie one after another, each with a page below it that must not be touched. Their tops differ in their
// position in a page, lest they all meet in the same sets of the cache.
unsigned char* stacks() {
  static unsigned char* const base = [] {
    unsigned char* data = reserve(kMostThreads * kStack);
    for (int i = 0; i < kMostThreads; i++) mprotect(data + i * kStack, kPage, PROT_NONE);
    return data;
  }();
  return base;
}
unsigned char* stack_of(int thread) { return stacks() + thread * kStack + kPage; }
size_t stack_bytes(int thread) { return kStack - kPage - static_cast<size_t>(thread * 5 % 16) * 256; }

int lowest(uint32_t mask) { return __builtin_ctz(mask); }

// A set bit of a mask: the first, or with a seed a random one.
int choose(uint32_t mask) {
  if (seed == 0) return lowest(mask);
  const uint32_t shift = random_below(32), rotated = mask >> shift | mask << (-shift & 31);
  return static_cast<int>((lowest(rotated) + shift) & 31);
}

void go_to(int thread) {
  Thread& from = block.running();
  block.current = thread;
  Warp& warp = block.running_warp();
  warp.ready &= ~(1u << thread % kLanes);
  if (warp.ready == 0) block.ready &= ~(1u << thread / kLanes);
  block.thread[thread].fibre.enter(from.fibre);
}

[[noreturn]] void deadlock() {
  std::string message = "deadlock:";
  for (int w = 0; w < block.warps; w++) {
    const Warp& warp = block.warp[w];
    message += " warp " + std::to_string(w) + " has";
    if (warp.arrived) message += " " + std::to_string(warp.arrived) + " lanes at " + text_of(warp.place);
    const int at_barrier = __builtin_popcount(warp.at_barrier), exited = __builtin_popcount(warp.exited);
    if (at_barrier) message += " " + std::to_string(at_barrier) + " lanes at " + text_of(block.place);
    if (exited) message += " " + std::to_string(exited) + " lanes that have returned";
    message += ";";
    if (message.size() > 600) break;
  }
  fail(cudaErrorLaunchFailure, message);
}

// Leaves the running thread, which waits, for another: of the same warp if there is one.
void leave() {
  const Warp& warp = block.running_warp();
  if (warp.ready) return go_to(block.current / kLanes * kLanes + choose(warp.ready));
  if (!block.ready) deadlock();
  const int w = choose(block.ready);
  go_to(w * kLanes + choose(block.warp[w].ready));
}

// With a seed, now and then another warp goes on.
void maybe_turn() {
  constexpr uint32_t kBurst = 24;
  if (seed == 0 || random_below(kBurst) != 0) return;
  const int own = block.current / kLanes;
  block.running_warp().ready |= 1u << block.current % kLanes;
  block.ready |= 1u << own;
  const int w = choose(block.ready), lane = choose(block.warp[w].ready);
  if (w * kLanes + lane != block.current) return go_to(w * kLanes + lane);
  block.running_warp().ready &= ~(1u << lane);
  if (block.running_warp().ready == 0) block.ready &= ~(1u << own);
}

void thread_entry() {
  Fibre::entered();
  work.run(work.args, block.shared);
  Thread& thread = block.running();
  block.running_warp().exited |= 1u << block.current % kLanes;
  if (++block.exited == block.threads) scheduler.enter(thread.fibre);
  leave();
  __builtin_unreachable();
}

void run_block(int64_t index) {
  block.index = index;
  block.arrived = block.exited = 0;
  memset(block.shared, kPoison, block.shared_bytes);
  for (int t = 0; t < block.threads; t++) {
    block.thread[t].fibre.prepare(stack_of(t), stack_bytes(t), thread_entry);
    block.thread[t].groups.clear();
    block.thread[t].open.clear();
  }
  for (int w = 0; w < block.warps; w++) {
    Warp& warp = block.warp[w];
    warp.ready = ~0u;
    warp.arrived = 0;
    warp.exited = warp.at_barrier = 0;
  }
  block.ready = block.warps == 32 ? ~0u : (1u << block.warps) - 1;
  block.current = choose(block.ready) * kLanes;
  block.running_warp().ready &= ~1u;
  block.running().fibre.enter(scheduler);
}
}  // namespace

Block& block = *new Block();

bool operator==(const Place& a, const Place& b) {
  return a.line == b.line && a.primitive == b.primitive && (a.file == b.file || strcmp(a.file, b.file) == 0);
}
std::string text_of(const Place& place) {
  return std::string(place.primitive) + " " + place.file + ":" + std::to_string(place.line);
}

void set_seed(uint64_t value) { seed = value; }
uint32_t random_below(uint32_t n) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return static_cast<uint32_t>((random_state >> 32) * n >> 32);
}

bool run_blocks(int64_t blocks, int threads, size_t shared_bytes, const void* args,
                void (*run)(const void* args, void* shared)) {
  static unsigned char* const shared = reserve(kMostShared);
  work = {args, run};
  failed = false;
  random_state = seed * 0x9E3779B97F4A7C15u | 1;
  block.blocks = blocks;
  block.threads = threads;
  block.warps = threads / kLanes;
  block.shared = shared;
  block.shared_bytes = shared_bytes;
#ifdef __SANITIZE_ADDRESS__
  __asan_unpoison_memory_region(shared, shared_bytes);
  __asan_poison_memory_region(shared + shared_bytes, kMostShared - shared_bytes);
#endif
  for (int64_t i = 0; i < blocks && !failed; i++) run_block(i);
  return !failed;
}

void fail(cudaError_t code, const std::string& message) {
  die(code, message);
  failed = true;
  scheduler.enter(block.running().fibre);
  __builtin_unreachable();
}

void meet(const Place& place, const void* in, void* out, void (*act)(const void* const* in, void* const* out)) {
  Warp& warp = block.running_warp();
  const int lane = block.current % kLanes;
  if (warp.arrived == 0) warp.place = place;
  else if (!(warp.place == place)) {
    fail(cudaErrorLaunchFailure, "divergence: lanes of warp " + std::to_string(block.current / kLanes) + " are at " +
                                     text_of(warp.place) + " and at " + text_of(place));
  }
  warp.in[lane] = in;
  warp.out[lane] = out;
  if (++warp.arrived < kLanes) return leave();
  warp.arrived = 0;
  if (act) act(warp.in, warp.out);
  warp.ready = ~(1u << lane);
  block.ready |= 1u << block.current / kLanes;
  maybe_turn();
}

void meet_block(const Place& place) {
  if (block.arrived == 0) block.place = place;
  else if (!(block.place == place)) {
    fail(cudaErrorLaunchFailure, "divergence: threads are at " + text_of(block.place) + " and at " + text_of(place));
  }
  Warp& own = block.running_warp();
  own.at_barrier |= 1u << block.current % kLanes;
  if (++block.arrived < block.threads) return leave();
  block.arrived = 0;
  for (int w = 0; w < block.warps; w++) {
    block.warp[w].ready = ~0u;
    block.warp[w].at_barrier = 0;
  }
  own.ready &= ~(1u << block.current % kLanes);
  block.ready = block.warps == 32 ? ~0u : (1u << block.warps) - 1;
  maybe_turn();
}

}  // namespace emulation
