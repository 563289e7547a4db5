#include "clocks.h"

#include <string.h>

#include <algorithm>

#include "memory.h"

namespace emulation {

namespace {
constexpr uint32_t kMost = (1 << 19) - 1;  // shadow.cc's stamps have room for no more

uint32_t counts[kMostThreads];
uint32_t synced[kMostWarps];  // of a warp's lanes, at its last warpSync
bool in_use = false;
struct Fence {
  uint32_t epoch, count;
} fenced[kMostThreads];

// A row for each thread; lanes of a warp know of each other by `synced`, too.
Knowledge* known = nullptr;

void use() {
  if (!known) known = reinterpret_cast<Knowledge*>(reserve(kMostThreads * sizeof(Knowledge)));
  in_use = true;
}
void count_on(int thread) {
  if (counts[thread] < kMost) counts[thread]++;
}
void join(Knowledge& to, const Knowledge& from) {
  for (int p = 0; p < kMostParties; p++) to[p] = std::max(to[p], from[p]);
}

bool one_knows(int thread, int party, uint32_t count) {
  if (thread == party) return true;
  const bool same_warp = thread / kLanes == party / kLanes;
  return (same_warp && count < synced[thread / kLanes]) || (in_use && count < known[thread][party]);
}
}  // namespace

void forget_clocks() {
  memset(counts, 0, sizeof counts);
  memset(synced, 0, sizeof synced);
  if (in_use) memset(known, 0, static_cast<size_t>(block.threads) * sizeof(Knowledge));
  in_use = false;
}

uint32_t count_of(int thread) { return counts[thread]; }
uint32_t count_of_warp(int warp) {
  return *std::max_element(counts + warp * kLanes, counts + (warp + 1) * kLanes);
}

void count_warp(int warp) {
  uint32_t* const own = counts + warp * kLanes;
  const uint32_t next = std::min(count_of_warp(warp) + 1, kMost);
  std::fill(own, own + kLanes, next);
  synced[warp] = next;
  if (!in_use) return;
  Knowledge& first = known[warp * kLanes];
  for (int l = 1; l < kLanes; l++) join(first, known[warp * kLanes + l]);
  for (int l = 1; l < kLanes; l++) memcpy(known[warp * kLanes + l], first, sizeof first);
}

void tell(int thread, Knowledge& knowledge) {
  use();
  join(knowledge, known[thread]);
  const int warp = thread / kLanes;
  for (int p = warp * kLanes; p < (warp + 1) * kLanes; p++) knowledge[p] = std::max(knowledge[p], synced[warp]);
  count_on(thread);
  knowledge[thread] = std::max(knowledge[thread], counts[thread]);
}

void learn(int thread, const Knowledge& knowledge) {
  use();
  join(known[thread], knowledge);
}

bool knows(int thread, bool all_lanes, int party, bool all_parties, uint32_t count) {
  const auto range = [](int of, bool all, auto test) {
    if (!all) return test(of);
    for (int l = 0; l < kLanes; l++) {
      if (!test(of / kLanes * kLanes + l)) return false;
    }
    return true;
  };
  // Most accesses are told apart by the last warpSync.
  if (thread / kLanes == party / kLanes && count < synced[thread / kLanes]) return true;
  if (!in_use && thread / kLanes != party / kLanes) return false;
  return range(thread, all_lanes, [&](int t) {
    return range(party, all_parties, [&](int p) { return one_knows(t, p, count); });
  });
}

bool clocks_in_use() { return in_use; }

void fence(int thread) {
  count_on(thread);
  fenced[thread] = {block.epoch, counts[thread]};
}
bool is_fenced(int thread, uint32_t epoch, uint32_t count) {
  const Fence& last = fenced[thread];
  return epoch < last.epoch || (epoch == last.epoch && count < last.count);
}

}  // namespace emulation
