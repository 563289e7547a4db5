#include "record.h"

#include <cxxabi.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <mutex>
#include <utility>

#include "memory.h"

namespace emulation {

namespace {
std::mutex mutex;
auto& records = *new std::vector<Record>;

std::string demangled(const char* type) {
  int status = 0;
  char* const name = abi::__cxa_demangle(type, nullptr, nullptr, &status);
  const std::string text = status == 0 ? name : type;
  free(name);
  return text;
}
}  // namespace

bool recording = false;

void add_record(const Launch& launch) {
  const auto* const args = static_cast<const unsigned char*>(launch.args.get());
  Record record{demangled(launch.type), launch.source,  launch.blocks, launch.threads, launch.bytes,
                {args, args + launch.args_bytes}, {}};
  for (size_t at = 0; at + 8 <= launch.args_bytes; at += 8) {
    uint64_t word;
    memcpy(&word, args + at, sizeof word);
    const Extent found = allocation_of(word);
    const auto same = [&](const Extent& other) { return other.begin == found.begin; };
    if (found.bytes > 0 && std::none_of(record.buffers.begin(), record.buffers.end(), same)) {
      record.buffers.push_back(found);
    }
  }
  const std::lock_guard<std::mutex> lock(mutex);
  records.push_back(std::move(record));
}

std::vector<Record> take_records() {
  const std::lock_guard<std::mutex> lock(mutex);
  return std::exchange(records, {});
}

}  // namespace emulation
