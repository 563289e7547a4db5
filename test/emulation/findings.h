// What the emulation has found wrong with kernels since somebody last asked.
#pragma once
#include <string>
#include <vector>

#include "control.h"
#include "places.h"

namespace emulation {

// Of one kind, kernel and pair of places there is one finding, which counts.
struct Fact {
  const char* kind;
  std::string kernel;
  std::string text;  // may contain $1 and $2, which stand for the places
  PlaceId first, second;
  int64_t count;
};
void add_fact(const char* kind, const std::string& text, PlaceId first = 0, PlaceId second = 0);
// Whether that has been found already; if so it is counted.
bool count_known(const char* kind, PlaceId first, PlaceId second);
// Takes them, without waiting for what still runs.
std::vector<Finding> findings_so_far();
// The kernel that runs from now on.
void set_kernel(const std::string& name);

}  // namespace emulation
