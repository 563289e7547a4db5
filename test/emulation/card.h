// What the emulated card is, from the environment:
//   FAST_WEIGHTS_EMULATED_CARD="memory=67108864,capability=7.5,driver=12040,none,failLaunch=37,cards=2,busy=1"
// bytes of memory, the compute capability, the driver's version (0: no driver), a driver without a card, the launch,
// counted from 1, that ends with an illegal address, how many cards there are, of which CUDA_VISIBLE_DEVICES chooses, and
// one that gives no context. apart: no card reaches another's memory. launchRoom=8388608: every launch needs so many bytes that
// are free, for stacks; failAttribute=2: the second setting of a function's attribute fails; failCapture: no stream's commands are
// captured. multiprocessors=1: what choices of
// kernels go by; it runs one block at a time in any case.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include <string>

namespace emulation {

struct Card {
  size_t memory = size_t{2} << 30;
  int major = 9, minor = 0, driver = 13000;
  bool none = false, apart = false, fail_capture = false;
  int64_t fail_launch = 0, fail_attribute = 0;
  int cards = 1, busy = -1, multiprocessors = 132;
  size_t launch_room = 0;
};
const Card& card();

// Calls visit(name, value) for each setting of an environment variable's comma-separated list.
template <class Visit>
void each_setting(const char* text, const Visit& visit) {
  std::string rest = text ? text : "";
  while (!rest.empty()) {
    const size_t end = rest.find(','), stop = end == std::string::npos ? rest.size() : end;
    const std::string item = rest.substr(0, stop);
    const size_t equals = item.find('=');
    visit(item.substr(0, equals), equals == std::string::npos ? "" : item.substr(equals + 1));
    rest = end == std::string::npos ? "" : rest.substr(end + 1);
  }
}

}  // namespace emulation
