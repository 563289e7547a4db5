// Products of a warpgroup: begun by its 128 threads together, computed while they go on. Until the wait the accumulators are
// NaN and must be left alone, and the factors must stay as they are.
#include "warpgroup.h"

#include <emulation/tile.h>
#include <emulation/warpgroup.h>
#include <math.h>
#include <string.h>

#include <string>
#include <vector>

#include "block.h"
#include "clocks.h"
#include "findings.h"
#include "mma.h"
#include "shadow.h"

namespace emulation {

namespace {
constexpr int kThreads = 128, kWarps = kThreads / kLanes, kGroups = kMostThreads / kThreads;
constexpr int kRows = 64, kDepth = 16, kPiece = 8;  // elements of 16 bytes
constexpr uint64_t kSwizzled = uint64_t{1} << 62;   // by 128 bytes

struct Issue {
  PlaceId place;
  int group, columns;
  float* accumulators[kThreads];
  std::vector<float> sums;           // [kRows, columns]
  std::vector<size_t> factors;       // pieces of shared memory, and what was there
  std::vector<unsigned char> bytes;
};

struct Warpgroup {
  int arrived = 0;
  Place place = {};
  const void* in[kThreads];
  std::vector<Issue> pending;
  int committed = 0;
  bool is_fenced = false;
};
auto& warpgroups = *new std::vector<Warpgroup>(kGroups);
Warpgroup& running_group() { return warpgroups[static_cast<size_t>(block.current / kThreads)]; }

// As `meet` of block.h, by the 128 threads.
template <class Act>
void meet_group(const Place& place, const void* in, const Act& act) {
  Warpgroup& group = running_group();
  if (group.arrived > 0 && !(group.place == place)) {
    fail(cudaErrorLaunchFailure, "divergence",
         "threads of a warpgroup at " + text_of(group.place) + " and at " + text_of(place));
  }
  group.place = place;
  group.in[block.current % kThreads] = in;
  if (++group.arrived < kThreads) return sleep_at(place);
  group.arrived = 0;
  act(group);
  const int first = block.current / kThreads * kThreads;
  for (int t = first; t < first + kThreads; t++) {
    if (t != block.current) wake(t);
  }
}

void find(const char* text, PlaceId first, PlaceId second = 0) {
  if (!count_known("warpgroup", first, second)) add_fact("warpgroup", text, first, second);
}

// A factor of `lines` lines and sixteen terms by its descriptor: tiles of eight rows of 128 bytes, a row for each line or
// for each term, whose pieces of 16 bytes are exchanged by the number of the row.
class Factor {
 public:
  Factor(uint64_t descriptor, bool along_lines, const Place& place) : along_lines_(along_lines) {
    const auto field = [&](int at) { return static_cast<size_t>(descriptor >> at & 0x3fff) << 4; };
    if ((descriptor & ~(kSwizzled | 0x3fff3fff3fffu)) != 0 || (descriptor & kSwizzled) == 0) {
      fail(cudaErrorLaunchFailure, "bounds", text_of(place) + ": a descriptor that is not of swizzled rows of 128 bytes");
    }
    start_ = field(0), leading_ = field(16), stride_ = field(32);
  }
  size_t offset(int line, int k) const {
    const auto l = static_cast<size_t>(line), p = static_cast<size_t>(k);
    const size_t at = along_lines_ ? start_ + l / 64 * leading_ + p / 8 * stride_ + p % 8 * 128 + l % 64 * 2
                                   : start_ + l / 8 * stride_ + l % 8 * 128 + p * 2;
    return at ^ (at >> 7 & 7) << 4;
  }
  // Calls visit(offset) for its pieces.
  template <class Visit>
  void each(int lines, const Visit& visit) const {
    for (int line = 0; line < lines; line += along_lines_ ? kPiece : 1) {
      for (int k = 0; k < kDepth; k += along_lines_ ? 1 : kPiece) visit(offset(line, k));
    }
  }
  float element(int line, int k) const {
    uint16_t bits;
    memcpy(&bits, block.shared + offset(line, k), sizeof bits);
    return fw::cuda::fromBfloat16(bits);
  }

 private:
  bool along_lines_;
  size_t start_, leading_, stride_;
};

void read_factors(const Issue& issue, int first_warp) {
  for (const size_t offset : issue.factors) {
    for (int w = 0; w < kWarps; w++) track_by_warp(offset, kPiece * 2, issue.place, first_warp + w);
  }
}

bool factors_changed(const Issue& issue) {
  const unsigned char* before = issue.bytes.data();
  for (const size_t offset : issue.factors) {
    if (memcmp(block.shared + offset, before, kPiece * 2) != 0) return true;
    before += kPiece * 2;
  }
  return false;
}

// Calls visit(thread, its n-th accumulator, row, column).
template <class Visit>
void each_accumulator(int columns, const Visit& visit) {
  for (int t = 0; t < kThreads; t++) {
    const int row = t / kLanes * 16 + t % kLanes / 4, column = t % 4 * 2;
    for (int n = 0; n < columns / 2; n++) visit(t, n, row + n / 2 % 2 * 8, n / 4 * 8 + column + n % 2);
  }
}

struct Given {
  float* c;
  uint64_t a, b;
  const uint32_t* left;  // the thread's part of the left factor, where it is in registers
};

// Sixteen rows of a left factor in the registers of a warp's threads.
void gather(const void* const* in, float (&left)[16][kDepth]) {
  for (int l = 0; l < kLanes; l++) {
    const uint32_t* pairs = static_cast<const Given*>(in[l])->left;
    for (int i = 0; i < 4; i++) {
      float* to = &left[l / 4 + i % 2 * 8][l % 4 * 2 + i / 2 * 8];
      to[0] = fw::cuda::fromBits(pairs[i] << 16), to[1] = fw::cuda::fromBits(pairs[i] & 0xffff0000u);
    }
  }
}

void begin(Warpgroup& group, const Place& place, int columns, bool a_along_lines, bool b_along_lines) {
  const PlaceId id = id_of(site_at(place));
  const auto given = [&](int t) -> const Given& { return *static_cast<const Given*>(group.in[t]); };
  for (int t = 1; t < kThreads; t++) {
    if (given(t).a != given(0).a || given(t).b != given(0).b) find("threads of a warpgroup give other factors ($1)", id);
  }
  if (!group.is_fenced) find("no warpgroupFence before the product ($1)", id);
  const bool in_registers = given(0).left != nullptr;
  const Factor a(in_registers ? kSwizzled : given(0).a, a_along_lines, place), b(given(0).b, b_along_lines, place);
  Issue issue = {id, group.committed, columns, {}, std::vector<float>(static_cast<size_t>(kRows * columns)), {}, {}};
  const auto take = [&](size_t offset) {
    if (offset + kPiece * 2 > block.shared_bytes) {
      fail(cudaErrorIllegalAddress, "bounds", text_of(place) + ": a factor outside the block's shared memory");
    }
    check_fenced(offset, kPiece * 2, id);
    issue.factors.push_back(offset);
    issue.bytes.insert(issue.bytes.end(), block.shared + offset, block.shared + offset + kPiece * 2);
  };
  if (!in_registers) a.each(kRows, take);
  b.each(columns, take);
  read_factors(issue, block.current / kThreads * kWarps);

  for (int t = 0; t < kThreads; t++) issue.accumulators[t] = given(t).c;
  const Issue* before = nullptr;
  for (const Issue& other : group.pending) {
    if (other.accumulators[0] == given(0).c) before = &other;
  }
  const auto sum = [&](int row, int column) -> float& {
    return issue.sums[static_cast<size_t>(row * columns + column)];
  };
  if (before) issue.sums = before->sums;
  else each_accumulator(columns, [&](int t, int n, int row, int column) { sum(row, column) = given(t).c[n]; });
  for (int column = 0; column < columns; column += 8) {
    float right[kDepth][8];
    for (int k = 0; k < kDepth; k++) {
      for (int j = 0; j < 8; j++) right[k][j] = b.element(column + j, k);
    }
    for (int row = 0; row < kRows; row += 16) {
      float left[16][kDepth], sums[16][8];
      if (in_registers) gather(group.in + row / 16 * kLanes, left);
      for (int r = 0; r < 16; r++) {
        for (int k = 0; !in_registers && k < kDepth; k++) left[r][k] = a.element(row + r, k);
        for (int j = 0; j < 8; j++) sums[r][j] = sum(row + r, column + j);
      }
      add_products(left, right, sums);
      for (int r = 0; r < 16; r++) memcpy(&sum(row + r, column), sums[r], sizeof sums[r]);
    }
  }
  for (int t = 0; t < kThreads; t++) memset(given(t).c, kPoison, static_cast<size_t>(columns / 2) * sizeof(float));
  group.pending.push_back(std::move(issue));
}

// Those of committed groups but the last `left` have been computed.
void end(Warpgroup& group, int left) {
  size_t done = 0;
  for (; done < group.pending.size() && group.pending[done].group < group.committed - left; done++) {
    const Issue& issue = group.pending[done];
    if (factors_changed(issue)) find("a factor changes before its product is waited for ($1)", issue.place);
    else read_factors(issue, block.current / kThreads * kWarps);
    bool touched = false, goes_on = false;
    for (size_t later = done + 1; later < group.pending.size(); later++) {
      goes_on = goes_on || group.pending[later].accumulators[0] == issue.accumulators[0];
    }
    if (goes_on) continue;
    each_accumulator(issue.columns, [&](int t, int n, int row, int column) {
      float& c = issue.accumulators[t][n];
      touched = touched || fw::cuda::toBits(c) != ~0u;
      c = issue.sums[static_cast<size_t>(row * issue.columns + column)];
    });
    if (touched) find("accumulators are written while the product is computed ($1)", issue.place);
  }
  group.pending.erase(group.pending.begin(), group.pending.begin() + static_cast<ptrdiff_t>(done));
  group.is_fenced = false;
}

Site* reach(const Place& place) {
  Site& site = site_at(place);
  site.reached++;
  return site.muted ? nullptr : &site;
}
}  // namespace

void forget_products() {
  for (Warpgroup& group : warpgroups) group = Warpgroup{};
}
void end_products() {
  for (const Warpgroup& group : warpgroups) {
    for (const Issue& issue : group.pending) find("$1 is never waited for", issue.place);
  }
}

void warpgroup_multiply(float* c, int columns, uint64_t a, bool a_along_lines, uint64_t b, bool b_along_lines, int line,
                        const char* file) {
  const Place place = {"warpgroupMultiply", file, line};
  const Given given = {c, a, b, nullptr};
  meet_group(place, &given, [&](Warpgroup& group) { begin(group, place, columns, a_along_lines, b_along_lines); });
}
void warpgroup_multiply(float* c, int columns, const uint32_t* a, uint64_t b, bool b_along_lines, int line,
                        const char* file) {
  const Place place = {"warpgroupMultiply", file, line};
  const Given given = {c, 0, b, a};
  meet_group(place, &given, [&](Warpgroup& group) { begin(group, place, columns, false, b_along_lines); });
}

void warpgroup_wait(int pending, int line, const char* file) {
  const Place place = {"warpgroupWait", file, line};
  if (reach(place)) meet_group(place, nullptr, [&](Warpgroup& group) { end(group, pending); });
}

}  // namespace emulation

namespace fw::cuda {

using namespace emulation;

uint64_t matrixDescriptor(const void* data, int leading, int stride) {
  const auto field = [](size_t bytes, int at) { return static_cast<uint64_t>(bytes >> 4 & 0x3fff) << at; };
  return field(offset_in_shared(data), 0) | field(static_cast<size_t>(leading), 16) |
         field(static_cast<size_t>(stride), 32) | kSwizzled;
}

void warpgroupFence(int line, const char* file) {
  const Place place = {"warpgroupFence", file, line};
  if (reach(place)) meet_group(place, nullptr, [](Warpgroup& group) { group.is_fenced = true; });
}

void warpgroupCommit(int line, const char* file) {
  const Place place = {"warpgroupCommit", file, line};
  if (reach(place)) meet_group(place, nullptr, [](Warpgroup& group) { group.committed++; });
}

}  // namespace fw::cuda
