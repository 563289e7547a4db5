// The causal depthwise convolution of two to four taps. A thread walks along the tokens of a strip with as many neighbouring
// channels as 8 or 16 bytes hold, or with one where they lie otherwise; the last inputs, and going back the last gradients, stay
// in registers, so that every row is read once.
#pragma once
#include "conv.cuh"
#include "lanes.cuh"
#include "strips.cuh"
#include "team.cuh"

namespace fw::cuda {

constexpr int64_t kLeastTaps = 2, kMostTaps = 4;

// The filters of kLanes channels from c on, and the inputs before the present token.
template <class T, int kTaps, int kLanes>
struct Lanes {
  static constexpr int kHistory = kTaps - 1;
  using Values = float[kLanes];
  using Packed = Pack<T, kLanes>;
  using Stored = typename Packed::Stored;

  const Inputs& inputs;
  int64_t c;
  // Of the present sequence: its number, its first token, the first of the next.
  int64_t s, start, next;
  Values weight[kTaps], bias, window[kHistory];

  FW_DEVICE Lanes(const Filter& filter, int64_t c) : inputs(filter.inputs), c(c) {
    FW_UNROLL for (int v = 0; v < kLanes; v++) {
      FW_UNROLL for (int j = 0; j < kTaps; j++) weight[j][v] = load(filter.weight, (c + v) * kTaps + j);
      bias[v] = filter.bias.data ? load(filter.bias, c + v) : 0.0f;
    }
  }

  FW_DEVICE static Stored row(const void* data, int64_t at) {
    return *reinterpret_cast<const Stored*>(static_cast<const T*>(data) + at);
  }
  FW_DEVICE static void put(const Out& y, int64_t at, const Values& x) {
    *reinterpret_cast<Stored*>(static_cast<T*>(y.data) + at) = Packed::narrow(x);
  }

  FW_DEVICE Stored input(int64_t token) const { return row(inputs.x.data, token * inputs.x.token + c); }

  // Goes to a token, from any other.
  FW_DEVICE void enter(int64_t token) {
    s = inputs.sequences.of(token);
    start = inputs.sequences.start(s);
    next = inputs.sequences.start(s + 1);
    FW_UNROLL for (int j = 0; j < kHistory; j++) {
      const int64_t t = token - start - kHistory + j;
      if (t >= 0) Packed::widen(window[j], input(start + t));
      else FW_UNROLL for (int v = 0; v < kLanes; v++) window[j][v] = inputs.before(s, t, c + v);
    }
  }

  // The output before its activation.
  FW_DEVICE void output(Values& y, const Values& present) const {
    FW_UNROLL for (int v = 0; v < kLanes; v++) {
      y[v] = bias[v];
      FW_UNROLL for (int j = 0; j < kHistory; j++) y[v] = fmaf(weight[j][v], window[j][v], y[v]);
      y[v] = fmaf(weight[kHistory][v], present[v], y[v]);
    }
  }

  FW_DEVICE static void shift(Values (&past)[kHistory], const Values& present) {
    FW_UNROLL for (int v = 0; v < kLanes; v++) {
      FW_UNROLL for (int j = 0; j + 1 < kHistory; j++) past[j][v] = past[j + 1][v];
      past[kHistory - 1][v] = present[v];
    }
  }
};

// How strips of tokens and groups of channels lie in blocks of threads: many groups in several blocks, few beside those of
// other strips.
struct Places {
  int64_t total, groups, across, together;
  uint32_t reciprocal;  // 2^16 / groups + 1, which divides threads of a block

  static Places of(int64_t total, int64_t d, int lanes, int threads) {
    const int64_t groups = d / lanes;
    return {total, groups, ceil_div(groups, threads), groups < threads ? threads / groups : 1,
            static_cast<uint32_t>((1 << 16) / groups + 1)};
  }
  int64_t blocks(int64_t each) const { return ceil_div(ceil_div(total, each), together) * across; }
};

// The strip of `each` tokens and the first channel of a thread; `end` is 0 for one without work.
struct Strip {
  int64_t number, begin, end, c;
  FW_DEVICE Strip(const Places& places, int64_t each, int lanes, int threads) {
    const int64_t row = block() / places.across;
    const int own = places.together > 1 ? static_cast<int>(thread() * places.reciprocal >> 16) : 0;
    // Of 32 bits: from others the compiler does not see that rows are whole, and stores 4 bytes at a time.
    const int group = static_cast<int>((block() - row * places.across) * threads + thread() - own * places.groups);
    number = row * places.together + own;
    c = int64_t{group} * lanes;
    begin = number * each;
    end = begin + each < places.total ? begin + each : places.total;
    if (own >= places.together || group >= places.groups || begin >= end) end = 0;
  }
};

struct ConvolveRowsArgs {
  Filter filter;
  Out y;
  bool activates;
  Places places;
};

template <class T, int kTaps, int kLanes>
struct ConvolveRows {
  static constexpr int kThreads = 256, kAhead = 8, kWholeLanes = 16 / sizeof(T);
  static constexpr int64_t kTokens = 32;
  using Own = Lanes<T, kTaps, kLanes>;
  using Args = ConvolveRowsArgs;
  struct Shared {};

  static FW_DEVICE void token(const Args& x, Own& own, int64_t t, const typename Own::Stored& stored) {
    typename Own::Values present, y;
    Own::Packed::widen(present, stored);
    own.output(y, present);
    if (x.activates) FW_UNROLL for (int v = 0; v < kLanes; v++) y[v] = activated(y[v]);
    Own::put(x.y, t * x.filter.inputs.d + own.c, y);
    Own::shift(own.window, present);
  }

  static FW_DEVICE void run(const Args& x, Shared&) {
    const Strip strip(x.places, kTokens, kLanes, kThreads);
    if (strip.end == 0) return;
    Own own(x.filter, strip.c);
    own.enter(strip.begin);
    for (int64_t t = strip.begin; t < strip.end;) {
      if (t == own.next) own.enter(t);
      const int64_t left = (own.next < strip.end ? own.next : strip.end) - t;
      if (left >= kAhead) {
        typename Own::Stored ahead[kAhead];
        FW_UNROLL for (int i = 0; i < kAhead; i++) ahead[i] = own.input(t + i);
        FW_UNROLL for (int i = 0; i < kAhead; i++) token(x, own, t + i, ahead[i]);
        t += kAhead;
      } else {
        token(x, own, t, own.input(t));
        t++;
      }
    }
  }
};

// Tokens of a strip going back, whose sums are kept.
constexpr int64_t kSummed = 64;

struct ConvolveRowsBackArgs {
  Filter filter;
  In dy;
  InMaybe dfinal;
  Out dx;
  float* sums;
  bool activates;
  Places places;
};

// Gradients of the inputs, and for each strip the sums [taps + 1, d] of those of the weights and of the bias.
template <class T, int kTaps, int kLanes>
struct ConvolveRowsBack {
  // More channels would take the registers of other warps.
  static constexpr int kThreads = 128, kAhead = 4, kWholeLanes = 4;
  static constexpr int64_t kTokens = kSummed;
  using Own = Lanes<T, kTaps, kLanes>;
  using Values = typename Own::Values;
  using Stored = typename Own::Stored;
  static constexpr int kHistory = Own::kHistory;
  using Args = ConvolveRowsBackArgs;
  struct Shared {};

  // The gradients of the outputs before the present one, and the sums so far.
  struct Walk {
    Values slopes[kHistory], sums[kTaps + 1];
  };

  // With the gradient of output t that of input t - history is whole.
  static FW_DEVICE void give(const Args& x, const Own& own, Walk& walk, const Strip& strip, int64_t t,
                             const Values& g, const Values* more = nullptr) {
    const int64_t token = t - kHistory;
    if (token >= strip.begin && token < strip.end && token >= own.start) {
      Values dx;
      FW_UNROLL for (int v = 0; v < kLanes; v++) {
        dx[v] = more ? fmaf(own.weight[0][v], g[v], (*more)[v]) : own.weight[0][v] * g[v];
        FW_UNROLL for (int j = 0; j < kHistory; j++) dx[v] = fmaf(own.weight[kHistory - j][v], walk.slopes[j][v], dx[v]);
      }
      Own::put(x.dx, token * x.filter.inputs.d + own.c, dx);
    }
    Own::shift(walk.slopes, g);
  }

  static FW_DEVICE void token(const Args& x, Own& own, Walk& walk, const Strip& strip, int64_t t,
                              const Stored& stored, const Stored& gradient) {
    Values present, g;
    Own::Packed::widen(present, stored);
    Own::Packed::widen(g, gradient);
    if (x.activates) {
      Values y;
      own.output(y, present);
      FW_UNROLL for (int v = 0; v < kLanes; v++) g[v] *= activatedSlope(y[v]);
    }
    if (t < strip.end) {
      FW_UNROLL for (int v = 0; v < kLanes; v++) {
        FW_UNROLL for (int j = 0; j < kHistory; j++) walk.sums[j][v] = fmaf(g[v], own.window[j][v], walk.sums[j][v]);
        walk.sums[kHistory][v] = fmaf(g[v], present[v], walk.sums[kHistory][v]);
        walk.sums[kTaps][v] += g[v];
      }
    }
    give(x, own, walk, strip, t, g);
    Own::shift(own.window, present);
  }

  // No output follows the last of a sequence; its last inputs are the final state.
  static FW_DEVICE void finish(const Args& x, const Own& own, Walk& walk, const Strip& strip) {
    const Values none = {};
    for (int i = 0; i < kHistory; i++) {
      Values more;
      FW_UNROLL for (int v = 0; v < kLanes; v++) {
        const int64_t at = (own.s * x.filter.inputs.d + own.c + v) * kHistory + i;
        more[v] = x.dfinal.data ? load(x.dfinal, at) : 0.0f;
      }
      give(x, own, walk, strip, own.next + i, none, &more);
    }
  }

  static FW_DEVICE void run(const Args& x, Shared&) {
    const int64_t d = x.filter.inputs.d;
    const Strip strip(x.places, kTokens, kLanes, kThreads);
    if (strip.end == 0) return;
    Own own(x.filter, strip.c);
    Walk walk = {};
    own.enter(strip.begin);
    const auto gradient = [&](int64_t t) { return Own::row(x.dy.data, t * d + own.c); };
    for (int64_t t = strip.begin; t < strip.end + kHistory;) {
      if (t == own.next) {
        finish(x, own, walk, strip);
        if (t >= strip.end) break;
        own.enter(t);
      }
      const int64_t left = (own.next < strip.end ? own.next : strip.end) - t;
      if (left >= kAhead) {
        Stored inputs[kAhead], gradients[kAhead];
        FW_UNROLL for (int i = 0; i < kAhead; i++) inputs[i] = own.input(t + i), gradients[i] = gradient(t + i);
        FW_UNROLL for (int i = 0; i < kAhead; i++) token(x, own, walk, strip, t + i, inputs[i], gradients[i]);
        t += kAhead;
      } else {
        token(x, own, walk, strip, t, own.input(t), gradient(t));
        t++;
      }
    }
    FW_UNROLL for (int j = 0; j <= kTaps; j++) {
      using Packed = Pack<float, kLanes>;
      float* const to = x.sums + (strip.number * (kTaps + 1) + j) * d + own.c;
      *reinterpret_cast<typename Packed::Stored*>(to) = Packed::narrow(walk.sums[j]);
    }
  }
};

template <class Kernel>
void launch_lanes(const Context& cx, typename Kernel::Args args, int lanes) {
  const Inputs& inputs = args.filter.inputs;
  if (inputs.d == 0) return;
  args.places = Places::of(inputs.sequences.total(), inputs.d, lanes, Kernel::kThreads);
  launch<Kernel>(cx, args.places.blocks(Kernel::kTokens), args);
}
template <template <class, int, int> class Kernel, class T, int kTaps, class Args>
void launch_taps(const Context& cx, const Args& args, bool whole) {
  constexpr int kLanes = Kernel<T, kTaps, 1>::kWholeLanes;
  if (whole) launch_lanes<Kernel<T, kTaps, kLanes>>(cx, args, kLanes);
  else launch_lanes<Kernel<T, kTaps, 1>>(cx, args, 1);
}
template <template <class, int, int> class Kernel, class T, class Args>
void launch_type(const Context& cx, const Args& args, bool whole) {
  switch (args.filter.inputs.history) {
    case 1: return launch_taps<Kernel, T, 2>(cx, args, whole);
    case 2: return launch_taps<Kernel, T, 3>(cx, args, whole);
    default: return launch_taps<Kernel, T, 4>(cx, args, whole);
  }
}
// `whole`: all rows begin with whole 16 bytes. There are two to four taps, and one dtype of rows.
template <template <class, int, int> class Kernel, class Args>
void launch_strips(const Context& cx, const Args& args, bool whole) {
  if (args.filter.inputs.x.dtype == kBfloat16) launch_type<Kernel, uint16_t>(cx, args, whole);
  else launch_type<Kernel, float>(cx, args, whole);
}

}  // namespace fw::cuda
