// Exponential gates with their running maximum: a warp for each head of a sequence, its lanes neighbouring tokens.
#include "math.cuh"
#include "running.cuh"
#include "sequences.cuh"

namespace fw::cuda {
namespace {

// The tokens of a head, and how a warp walks them.
struct Line {
  int64_t first, length, heads;  // the place of the first token's number
  FW_DEVICE int64_t at(int64_t t) const { return first + t * heads; }
};
template <class Args>
FW_DEVICE Line line_of(const Args& a, int64_t line) {
  const Sequences sequences = {a.offsets, a.sequences, a.tokens};
  const int64_t n = line / a.heads;
  return {sequences.start(n) * a.heads + line % a.heads, sequences.length(n), a.heads};
}

struct ExponentialGates {
  static constexpr int kThreads = kLineThreads;
  using Args = exponentialGatesArgs;
  struct Shared {};

  static FW_DEVICE void run(const Args& a, Shared&) {
    const int64_t number = team_line<kWarp>();
    if (number >= a.sequences * a.heads) return;
    const Line line = line_of(a, number);
    Most before = {0, a.initialMax.data ? load(a.initialMax, number) : 0.0f};
    for (int64_t first = 0; first < line.length; first += kWarp) {
      const int64_t t = first + lane();
      const bool live = t < line.length;
      const float input = live ? load(a.inputGate, line.at(t)) : -INFINITY;
      const float raw = live ? load(a.forgetGate, line.at(t)) : 0, decay = a.logSigmoid && live ? -softplus(-raw) : raw;
      const Most own = after_all<kWarp>(Most{decay, input}, before);
      const float earlier = shuffle(own.value(), lane() > 0 ? lane() - 1 : 0), m = own.value();
      if (live) {
        store(a.gate, line.at(t), (lane() > 0 ? earlier : before.value()) - m + decay);
        store(a.beta, line.at(t), expf(input - m));
        store(a.max, line.at(t), m);
      }
      before = shuffle(own, kWarp - 1);
    }
    if (lane() == 0) store(a.finalMax, number, before.value());
  }
};

// What reaches m from later tokens goes on to the one before where the decayed maximum was the larger.
struct ExponentialGatesBackward {
  static constexpr int kThreads = kLineThreads;
  using Args = exponentialGatesBackwardArgs;
  struct Shared {};

  static FW_DEVICE void run(const Args& a, Shared&) {
    const int64_t number = team_line<kWarp>();
    if (number >= a.sequences * a.heads) return;
    const Line line = line_of(a, number);
    Linear after = {1, load(a.dfinalMax, number)};
    for (int64_t last = line.length; last > 0; last -= kWarp) {
      const int64_t t = last - 1 - lane(), at = line.at(t);
      const bool live = t >= 0;
      const float input = live ? load(a.inputGate, at) : 0, dmax = live ? load(a.dmax, at) : 0;
      const bool carried = !live || load(a.max, at) > input;
      const Linear own = after_all<kWarp>(Linear::of(carried ? dmax : 0, carried ? 1 : 0), after);
      const float later = shuffle(own.value(), lane() > 0 ? lane() - 1 : 0);
      const float all = (lane() > 0 ? later : after.value()) + dmax, passed = carried ? all : 0;
      if (live) {
        store(a.dinputGate, at, load(a.dbeta, at) * load(a.beta, at) + (all - passed));
        const float slope = a.logSigmoid ? sigmoid(-load(a.forgetGate, at)) : 1.0f;
        store(a.dforgetGate, at, (load(a.dgate, at) + passed) * slope);
      }
      after = shuffle(own, kWarp - 1);
    }
    if (lane() > 0 || !a.dinitialMax.data) return;
    store(a.dinitialMax, number, after.value() + (line.length > 0 ? load(a.dgate, line.at(0)) : 0.0f));
  }
};

}  // namespace

void exponentialGates(const Context& cx, const exponentialGatesArgs& a) {
  if (a.sequences * a.heads > 0) launch_teams<ExponentialGates, kWarp>(cx, a.sequences * a.heads, a);
}
void exponentialGatesBackward(const Context& cx, const exponentialGatesBackwardArgs& a) {
  if (a.sequences * a.heads > 0) launch_teams<ExponentialGatesBackward, kWarp>(cx, a.sequences * a.heads, a);
}

}  // namespace fw::cuda
