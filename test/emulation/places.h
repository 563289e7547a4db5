// Places in the source of kernels: calls of primitives, which tell their line themselves, and accesses to memory, which
// are known by the address of their code until somebody wants to read about them.
#pragma once
#include <stdint.h>

#include <string>
#include <vector>

namespace emulation {

// A call of a primitive.
struct Place {
  const char* primitive;
  const char* file;
  int line;
};
bool operator==(const Place& a, const Place& b);
std::string text_of(const Place& place);

// Every place of a primitive that a kernel has reached. A muted one does nothing: what it was for should then be
// missed.
struct Site {
  Place place;
  int64_t reached;
  bool muted;
};
Site& site_at(const Place& place);
std::vector<Site>& all_sites();

// Either kind, in 32 bits.
using PlaceId = uint32_t;
PlaceId id_of(const Site& site);
// Of the code before a return address in this module.
extern const uintptr_t module_base;
inline PlaceId id_of(const void* return_address) {
  return static_cast<PlaceId>(reinterpret_cast<uintptr_t>(return_address) - 1 - module_base);
}
// "file:line", with the lines it was inlined into; the debug information is read once for all of them.
std::vector<std::string> texts_of(const std::vector<PlaceId>& places);

// Whether an address lies in this module's code and constants.
bool is_in_module(const void* data);

}  // namespace emulation
