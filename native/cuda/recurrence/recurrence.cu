// Which kernels compute the forward pass of a recurrence: the first of the table that take it. What they ask for are
// properties of the call's own operands, never of how many sequences there are, so that a sequence has the same bits in
// any company.
#include "../device.h"
#include "forward.h"

namespace fw::cuda {
namespace {

bool takes_any(const recurrenceArgs&) { return true; }

constexpr struct {
  bool (*takes)(const recurrenceArgs&);
  void (*run)(const Context&, const recurrenceArgs&);
} kWays[] = {
    {takes_bfloat16<64>, forward_bfloat16<64>},    // linear attention and the delta rule, at most a gate per head,
    {takes_bfloat16<128>, forward_bfloat16<128>},  // in bfloat16, with a state kept every 64 tokens if at all
    {takes_any, forward_exact},                    // all others, in float32
};

}  // namespace

void recurrence(const Context& cx, const recurrenceArgs& args) {
  for (const auto& way : kWays) {
    if (way.takes(args)) return way.run(cx, args);
  }
}

}  // namespace fw::cuda
