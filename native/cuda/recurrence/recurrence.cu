// Which kernels compute a pass of a recurrence: the first of its table that take it. What they ask for are properties of
// the call's own operands, never of how many sequences there are, so that a sequence has the same bits in any company.
#include "../device.h"
#include "ways.h"

namespace fw::cuda {
namespace {

template <class Args>
struct Way {
  bool (*takes)(const Args&);
  void (*run)(const Context&, const Args&);
};
template <class Args>
bool takes_any(const Args&) {
  return true;
}

constexpr Way<recurrenceArgs> kForward[] = {
    {takes_bfloat16<64>, forward_bfloat16<64>},    // linear attention and the delta rule, at most a gate per head,
    {takes_bfloat16<128>, forward_bfloat16<128>},  // in bfloat16, with a state kept every 64 tokens if at all
    {takes_vector_gates<64>, forward_vector_gates<64>},  // the same with a gate for every key
    {takes_vector_gates<128>, forward_vector_gates<128>},
    {takes_float32<64>, forward_float32<64>},  // as the first two, in float32
    {takes_float32<128>, forward_float32<128>},
    {takes_any, forward_exact},  // all others, in float32
};
constexpr Way<recurrenceBackwardArgs> kBackward[] = {
    {takes_bfloat16<64>, backward_bfloat16<64>},  // likewise
    {takes_bfloat16<128>, backward_bfloat16<128>},
    {takes_vector_gates<64>, backward_vector_gates<64>},
    {takes_vector_gates<128>, backward_vector_gates<128>},
    {takes_float32<64>, backward_float32<64>},
    {takes_float32<128>, backward_float32<128>},
    {takes_any, backward_exact},
};

template <class Args, int n>
void run_first(const Way<Args> (&ways)[n], const Context& cx, const Args& args) {
  for (const auto& way : ways) {
    if (way.takes(args)) return way.run(cx, args);
  }
}

}  // namespace

void recurrence(const Context& cx, const recurrenceArgs& args) { run_first(kForward, cx, args); }
void recurrenceBackward(const Context& cx, const recurrenceBackwardArgs& args) { run_first(kBackward, cx, args); }

}  // namespace fw::cuda
