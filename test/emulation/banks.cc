#include "banks.h"

#include <map>
#include <set>

#include "block.h"
#include "control.h"

namespace emulation {

namespace {
constexpr size_t kBank = 4, kBanks = 32, kPass = kBank * kBanks;

struct Access {
  size_t offset, bytes;
  int lane;
};
// A code's n-th execution by each lane, and the accesses of one.
struct Log {
  std::map<std::pair<PlaceId, int>, std::vector<Access>> accesses;
  std::map<std::pair<PlaceId, int>, int> times;  // by code and lane
};
auto& logs = *new std::vector<Log>(kMostWarps);

struct Sum {
  int64_t accesses = 0, extra = 0;
};
auto& sums = *new std::map<PlaceId, Sum>;

// How many passes the accesses take beyond the least. Those of 8 and 16 bytes are served for half and a quarter of the
// warp at a time; the lanes of a group that use the same word share it.
int64_t extra_passes(const std::vector<Access>& accesses) {
  std::map<int, std::set<size_t>> groups;
  for (const Access& access : accesses) {
    const size_t lanes = access.bytes <= kBank ? kLanes : kPass / access.bytes;
    for (size_t word = access.offset / kBank; word * kBank < access.offset + access.bytes; word++) {
      groups[access.lane / static_cast<int>(lanes)].insert(word);
    }
  }
  int64_t total = 0;
  for (const auto& [group, words] : groups) {
    int64_t in_bank[kBanks] = {}, most = 0;
    for (const size_t word : words) {
      const int64_t count = ++in_bank[word % kBanks];
      most = count > most ? count : most;
    }
    total += most - 1;
  }
  return total;
}
}  // namespace

bool count_banks = false;

void log_access(size_t offset, size_t bytes, PlaceId place) {
  Log& log = logs[static_cast<size_t>(block.current / kLanes)];
  const int lane = block.current % kLanes;
  log.accesses[{place, log.times[{place, lane}]++}].push_back({offset, bytes, lane});
}

void settle_accesses(int warp) {
  Log& log = logs[static_cast<size_t>(warp)];
  for (const auto& [key, accesses] : log.accesses) {
    Sum& sum = sums[key.first];
    sum.accesses++;
    sum.extra += extra_passes(accesses);
  }
  log.accesses.clear();
  log.times.clear();
}

void count_bank_conflicts(bool count) { count_banks = count; }

std::vector<BankConflicts> take_bank_conflicts() {
  std::vector<PlaceId> places;
  for (const auto& [place, sum] : sums) places.push_back(place);
  const std::vector<std::string> texts = texts_of(places);
  // Several instructions of a line are told as one.
  std::map<std::string, Sum> lines;
  for (size_t i = 0; i < places.size(); i++) {
    lines[texts[i]].accesses += sums[places[i]].accesses;
    lines[texts[i]].extra += sums[places[i]].extra;
  }
  sums.clear();
  std::vector<BankConflicts> conflicts;
  for (const auto& [place, sum] : lines) conflicts.push_back({place, sum.accesses, sum.extra});
  return conflicts;
}

}  // namespace emulation
