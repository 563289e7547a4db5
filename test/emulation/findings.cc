#include "findings.h"

#include <string.h>

#include <mutex>

#include "device.h"

namespace emulation {

namespace {
auto& mutex = *new std::mutex;
auto& facts = *new std::vector<Fact>;
auto& kernel = *new std::string;

void replace(std::string& text, const std::string& mark, const std::string& by) {
  const size_t at = text.find(mark);
  if (at != std::string::npos) text.replace(at, mark.size(), by);
}
}  // namespace

void set_kernel(const std::string& name) {
  const std::lock_guard<std::mutex> lock(mutex);
  kernel = name;
}

bool count_known(const char* kind, PlaceId first, PlaceId second) {
  const std::lock_guard<std::mutex> lock(mutex);
  for (Fact& fact : facts) {
    if (fact.first != first || fact.second != second || strcmp(fact.kind, kind) != 0 || fact.kernel != kernel) continue;
    fact.count++;
    return true;
  }
  return false;
}

void add_fact(const char* kind, const std::string& text, PlaceId first, PlaceId second) {
  const std::lock_guard<std::mutex> lock(mutex);
  facts.push_back({kind, kernel, text, first, second, 1});
}

std::vector<Finding> findings_so_far() {
  std::vector<Fact> taken;
  {
    const std::lock_guard<std::mutex> lock(mutex);
    taken.swap(facts);
  }
  std::vector<PlaceId> places;
  for (const Fact& fact : taken) {
    places.push_back(fact.first);
    places.push_back(fact.second);
  }
  const std::vector<std::string> texts = texts_of(places);
  std::vector<Finding> findings;
  for (size_t i = 0; i < taken.size(); i++) {
    std::string text = taken[i].kernel + ": " + taken[i].text;
    replace(text, "$1", texts[2 * i]);
    replace(text, "$2", texts[2 * i + 1]);
    findings.push_back({taken[i].kind, text, taken[i].count});
  }
  return findings;
}

std::vector<Finding> take_findings() {
  wait_for_all();
  return findings_so_far();
}
int64_t finding_count() {
  wait_for_all();
  const std::lock_guard<std::mutex> lock(mutex);
  return static_cast<int64_t>(facts.size());
}

}  // namespace emulation
