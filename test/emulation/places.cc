#include "places.h"

#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <iterator>
#include <map>

#include "control.h"
#include "device.h"

namespace emulation {

namespace {
constexpr PlaceId kSite = 0x80000000u;
constexpr size_t kEntries = 4096;
constexpr const char* kOnlyOrder[] = {"barrier",        "warpSync",       "copyCommit",   "copyWait",
                                      "mbarrierArrive", "mbarrierExpect", "mbarrierWait", "fenceProxyAsync",
                                      "warpgroupFence", "warpgroupCommit", "warpgroupWait"};

// From what a call gives to its site. A header's calls give another pointer to the file's name in each source.
struct Entry {
  const char *primitive, *file;
  int line;
  int site;
};
Entry entries[kEntries];

const char* last_part(const char* path) {
  const char* slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

// Where this module was loaded, and from which file.
struct Module {
  uintptr_t base = 0, begin = 0, end = 0;
  std::string path;
};
int look_at(dl_phdr_info* info, size_t, void* data) {
  Module& module = *static_cast<Module*>(data);
  const auto own = reinterpret_cast<uintptr_t>(&entries);
  uintptr_t begin = ~uintptr_t{0}, end = 0;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    if (info->dlpi_phdr[i].p_type != PT_LOAD) continue;
    const uintptr_t at = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
    begin = at < begin ? at : begin;
    end = at + info->dlpi_phdr[i].p_memsz > end ? at + info->dlpi_phdr[i].p_memsz : end;
  }
  if (own < begin || own >= end) return 0;
  module = {info->dlpi_addr, begin, end, info->dlpi_name[0] ? info->dlpi_name : "/proc/self/exe"};
  return 1;
}
const Module& module() {
  static const Module module = [] {
    Module found;
    dl_iterate_phdr(look_at, &found);
    char path[4096];
    if (realpath(found.path.c_str(), path)) found.path = path;
    return found;
  }();
  return module;
}

// addr2line prints, for each address, the address and then a line for each function that it was inlined into.
std::map<PlaceId, std::string> lines_of(const std::vector<PlaceId>& offsets) {
  std::map<PlaceId, std::string> lines;
  if (offsets.empty()) return lines;
  std::string command = "addr2line -a -i -e '" + module().path + "'";
  char text[4096];
  for (const PlaceId offset : offsets) {
    snprintf(text, sizeof text, " 0x%x", offset);
    command += text;
  }
  FILE* output = popen((command + " 2>/dev/null").c_str(), "r");
  if (!output) return lines;
  PlaceId offset = 0;
  while (fgets(text, sizeof text, output)) {
    if (strncmp(text, "0x", 2) == 0) {
      offset = static_cast<PlaceId>(strtoul(text, nullptr, 16));
      continue;
    }
    text[strcspn(text, "\n ")] = 0;
    std::string& line = lines[offset];
    const std::string part = last_part(text);
    // Lambdas are inlined into their own line; the emulation's launch is of no interest.
    const bool known = line.size() >= part.size() && line.compare(line.size() - part.size(), part.size(), part) == 0;
    if (!known && part.rfind("device.h:", 0) != 0) line += (line.empty() ? "" : " in ") + part;
  }
  pclose(output);
  return lines;
}
}  // namespace

bool operator==(const Place& a, const Place& b) {
  return a.line == b.line && a.primitive == b.primitive && (a.file == b.file || strcmp(a.file, b.file) == 0);
}
std::string text_of(const Place& place) {
  return std::string(place.primitive) + " at " + last_part(place.file) + ":" + std::to_string(place.line);
}

const uintptr_t module_base = module().base;

std::vector<Site>& all_sites() {
  static auto& sites = *new std::vector<Site>;
  return sites;
}

std::vector<SiteInfo> sites() {
  wait_for_all();
  std::vector<SiteInfo> list;
  for (const Site& site : all_sites()) {
    const std::string primitive = site.place.primitive;
    const auto is = [&](const char* name) { return primitive == name; };
    const bool can_mute = std::any_of(std::begin(kOnlyOrder), std::end(kOnlyOrder), is);
    list.push_back({site.place.file, site.place.line, primitive, can_mute, site.reached});
  }
  return list;
}
void mute(int site, bool muted) {
  wait_for_all();
  all_sites().at(static_cast<size_t>(site)).muted = muted;
}

Site& site_at(const Place& place) {
  std::vector<Site>& sites = all_sites();
  size_t at = (reinterpret_cast<uintptr_t>(place.file) + static_cast<size_t>(place.line) * 2654435761u) % kEntries;
  for (; entries[at].primitive; at = (at + 1) % kEntries) {
    const Entry& entry = entries[at];
    if (entry.line == place.line && entry.file == place.file && entry.primitive == place.primitive) {
      return sites[static_cast<size_t>(entry.site)];
    }
  }
  size_t site = 0;
  while (site < sites.size() && !(sites[site].place == place)) site++;
  if (site == sites.size()) sites.push_back({place, 0, false});
  entries[at] = {place.primitive, place.file, place.line, static_cast<int>(site)};
  return sites[site];
}

PlaceId id_of(const Site& site) { return kSite | static_cast<PlaceId>(&site - all_sites().data()); }
std::vector<std::string> texts_of(const std::vector<PlaceId>& places) {
  std::vector<PlaceId> offsets;
  for (const PlaceId place : places) {
    if (!(place & kSite)) offsets.push_back(place);
  }
  std::map<PlaceId, std::string> lines = lines_of(offsets);
  std::vector<std::string> texts;
  for (const PlaceId place : places) {
    texts.push_back(place & kSite ? text_of(all_sites()[place & ~kSite].place) : lines[place]);
  }
  return texts;
}

bool is_in_module(const void* data) {
  const auto at = reinterpret_cast<uintptr_t>(data);
  return at >= module().begin && at < module().end;
}

}  // namespace emulation
