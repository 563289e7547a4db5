// Cross entropy of rows of logits with integer targets: each row is read once, in packs of 16 bytes where it lies so.
#include "indices.cuh"
#include "lanes.cuh"
#include "team.cuh"

namespace fw::cuda {
namespace {

// How rows of one dtype are read and written whose every pack lies whole, and all others.
template <class T>
struct Whole {
  static constexpr int kLanes = 16 / sizeof(T);
  using Packed = Pack<T, kLanes>;
  using Stored = typename Packed::Stored;
  static FW_DEVICE Stored read(const In& x, int64_t i) {
    return *reinterpret_cast<const Stored*>(static_cast<const T*>(x.data) + i);
  }
  static FW_DEVICE void widen(float (&x)[kLanes], const Stored& stored) { Packed::widen(x, stored); }
  static FW_DEVICE void write(const Out& y, int64_t i, const float (&x)[kLanes]) {
    *reinterpret_cast<Stored*>(static_cast<T*>(y.data) + i) = Packed::narrow(x);
  }
};
struct Single {
  static constexpr int kLanes = 1;
  using Stored = float;
  static FW_DEVICE Stored read(const In& x, int64_t i) { return load(x, i); }
  static FW_DEVICE void widen(float (&x)[1], Stored stored) { x[0] = stored; }
  static FW_DEVICE void write(const Out& y, int64_t i, const float (&x)[1]) { store(y, i, x[0]); }
};

// Calls visit(i, x) for every pack of a row of n elements from `at` on that is this thread's, i its first element; some
// are under way at a time.
template <class Access, int kTeam, class Visit>
FW_DEVICE void each_pack(const In& row, int64_t at, int64_t n, const Visit& visit) {
  constexpr int kAhead = 4, kStep = kTeam * Access::kLanes;
  float x[Access::kLanes];
  int64_t i = team_member<kTeam>() * Access::kLanes;
  for (; i + (kAhead - 1) * kStep < n; i += kAhead * kStep) {
    typename Access::Stored ahead[kAhead];
    FW_UNROLL for (int j = 0; j < kAhead; j++) ahead[j] = Access::read(row, at + i + j * kStep);
    FW_UNROLL for (int j = 0; j < kAhead; j++) {
      Access::widen(x, ahead[j]);
      visit(i + j * kStep, x);
    }
  }
  for (; i < n; i += kStep) {
    Access::widen(x, Access::read(row, at + i));
    visit(i, x);
  }
}

// A call, and whether its loss sees capped logits, and smoothed targets.
template <class Call>
struct LossArgs {
  Call call;
  bool caps, smooths;
  explicit LossArgs(const Call& call) : call(call), caps(call.softcap > 0), smooths(call.smoothing > 0) {}
  FW_DEVICE float seen(float x) const {
    const float cap = static_cast<float>(call.softcap);
    return caps ? cap * tanhf(x / cap) : x;
  }
};

template <class Access, int kTeam>
struct CrossEntropy {
  static constexpr int kThreads = kLineThreads;
  using Args = LossArgs<crossEntropyArgs>;
  struct Shared {
    float tops[kLineWarps];
    Sum totals[kLineWarps], levels[kLineWarps];
  };

  static FW_DEVICE void run(const Args& args, Shared& shared) {
    const crossEntropyArgs& x = args.call;
    const int64_t row = team_line<kTeam>(), n = x.n, at = row * n;
    if (row >= x.rows) return;
    // The sum of e^(z - top), for the largest so far.
    float top = -INFINITY;
    Sum total, level;
    const auto rise = [&](float to) {
      const float scale = expf(top - to);
      total.value *= scale, total.rest *= scale;
      top = to;
    };
    each_pack<Access, kTeam>(x.logits, at, n, [&](int64_t, float (&z)[Access::kLanes]) {
      if (args.caps) FW_UNROLL for (float& each : z) each = args.seen(each);
      float most = z[0];
      FW_UNROLL for (int l = 1; l < Access::kLanes; l++) most = Larger{}(most, z[l]);
      if (!(most <= top)) rise(most);
      if (args.smooths) FW_UNROLL for (const float each : z) level.add(each);
      if (top == -INFINITY) return;
      FW_UNROLL for (const float each : z) total.add(expf(each - top));
    });
    rise(gather<kTeam>(top, shared.tops, Larger{}));
    total = gather<kTeam>(total, shared.totals, Added{});
    // Without smoothing the mean is left out: a logit of -infinity would make it 0 * infinity.
    if (args.smooths) level = gather<kTeam>(level, shared.levels, Added{});
    if (team_member<kTeam>() != 0) return;
    // In double: a small loss is the difference of large numbers.
    const double lse = static_cast<double>(top) + total.log();
    store(x.lse, row, static_cast<float>(lse));
    const int32_t target = x.target.ints()[row];
    if (target == x.ignoreIndex || !inside(target, n)) return store(x.loss, row, 0.0f);
    double loss = lse - (1 - x.smoothing) * args.seen(load(x.logits, at + target)) + x.zLoss * lse * lse;
    if (args.smooths) loss -= x.smoothing * level.total() / static_cast<double>(n);
    store(x.loss, row, static_cast<float>(loss));
  }
};

template <class Access, int kTeam>
struct CrossEntropyBackward {
  static constexpr int kThreads = kLineThreads;
  using Args = LossArgs<crossEntropyBackwardArgs>;
  struct Shared {};

  static FW_DEVICE void run(const Args& args, Shared&) {
    const crossEntropyBackwardArgs& x = args.call;
    const int64_t row = team_line<kTeam>(), n = x.n, at = row * n;
    if (row >= x.rows) return;
    const float cap = static_cast<float>(x.softcap), lse = load(x.lse, row);
    const int32_t target = x.target.ints()[row];
    const bool ignored = target == x.ignoreIndex;
    const float dloss = ignored ? 0.0f : load(x.dloss, row), hit = static_cast<float>(1 - x.smoothing);
    const float towards = 1 + 2 * static_cast<float>(x.zLoss) * lse;
    const float even = static_cast<float>(x.smoothing / static_cast<double>(n));
    each_pack<Access, kTeam>(x.logits, at, n, [&](int64_t i, float (&z)[Access::kLanes]) {
      float damped[Access::kLanes];
      FW_UNROLL for (float& each : damped) each = dloss;
      if (args.caps) {
        FW_UNROLL for (int l = 0; l < Access::kLanes; l++) {
          z[l] = args.seen(z[l]);
          damped[l] *= 1 - z[l] / cap * (z[l] / cap);
        }
      }
      const int own = static_cast<int>(target - i);
      FW_UNROLL for (int l = 0; l < Access::kLanes; l++) {
        const float dz = expf(z[l] - lse) * towards - (own == l ? even + hit : even);
        z[l] = ignored ? 0.0f : damped[l] * dz;
      }
      Access::write(x.dlogits, at + i, z);
    });
  }
};

template <template <class, int> class Kernel, class Access, class Call>
void launch_as(const Context& cx, const Call& x) {
  const LossArgs<Call> args(x);
  if (x.n <= kShortLine) launch_teams<Kernel<Access, kWarp>, kWarp>(cx, x.rows, args);
  else launch_teams<Kernel<Access, kLineThreads>, kLineThreads>(cx, x.rows, args);
}
template <template <class, int> class Kernel, class Call>
void launch_losses(const Context& cx, const Call& x, bool whole) {
  if (!whole || !lies_whole(x.logits.data, x.n, x.logits.dtype)) launch_as<Kernel, Single>(cx, x);
  else if (x.logits.dtype == kBfloat16) launch_as<Kernel, Whole<uint16_t>>(cx, x);
  else launch_as<Kernel, Whole<float>>(cx, x);
}

}  // namespace

void crossEntropy(const Context& cx, const crossEntropyArgs& x) {
  check_indices(cx, x.target, x.rows, x.n, x.ignoreIndex, true);
  launch_losses<CrossEntropy>(cx, x, true);
}
void crossEntropyBackward(const Context& cx, const crossEntropyBackwardArgs& x) {
  check_indices(cx, x.target, x.rows, x.n, x.ignoreIndex, true);
  const Out& y = x.dlogits;
  launch_losses<CrossEntropyBackward>(cx, x, y.dtype == x.logits.dtype && lies_whole(y.data, x.n, y.dtype));
}

}  // namespace fw::cuda
