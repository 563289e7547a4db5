// Causal depthwise convolution over time: whole sequences, their gradients, and one token.
#include "conv_rows.cuh"
#include "fold.cuh"

namespace fw::cuda {
namespace {

// With other than two to four taps a block owns kThreads channels of kTokens tokens.
constexpr int kChannels = 256;
constexpr int64_t kTokens = 16;

template <class Args>
Filter filter_of(const Args& x) {
  return {{x.x, x.initialState, {x.offsets, x.sequences, x.tokens}, x.d, x.width - 1}, x.weight, x.bias};
}

// Calls body(sequence, its first token, t within it, channel) for all tokens and channels of a block.
template <class Body>
FW_DEVICE void each_place(const Sequences& sequences, int64_t total, int64_t d, const Body& body) {
  const int64_t strips = (d + kChannels - 1) / kChannels, c = block() % strips * kChannels + thread();
  const int64_t begin = block() / strips * kTokens, end = begin + kTokens < total ? begin + kTokens : total;
  if (c >= d) return;
  int64_t s = sequences.of(begin);
  for (int64_t token = begin; token < end; token++) {
    while (token >= sequences.start(s + 1)) s++;
    body(s, sequences.start(s), token - sequences.start(s), c);
  }
}

template <class Kernel>
void launch_places(const Context& cx, const typename Kernel::Args& args, const Sequences& sequences, int64_t d) {
  launch<Kernel>(cx, ceil_div(sequences.total(), kTokens) * ceil_div(d, kChannels), args);
}

// Calls body(sequence, channel, j) for this thread's element of states [sequences, d, history].
template <class Body>
FW_DEVICE void at_state(const Inputs& inputs, const Body& body) {
  const int64_t i = block() * kChannels + thread(), history = inputs.history, d = inputs.d;
  if (i < inputs.sequences.count * d * history) body(i / (d * history), i / history % d, i % history);
}

template <class Kernel>
void launch_states(const Context& cx, const typename Kernel::Args& args, const Inputs& inputs) {
  launch<Kernel>(cx, ceil_div(inputs.sequences.count * inputs.d * inputs.history, kChannels), args);
}

struct Convolve {
  static constexpr int kThreads = kChannels;
  struct Args {
    Filter filter;
    Out y;
    int64_t total;
    bool activates;
  };
  struct Shared {};

  static FW_DEVICE void run(const Args& x, Shared&) {
    const Inputs& inputs = x.filter.inputs;
    each_place(inputs.sequences, x.total, inputs.d, [&](int64_t s, int64_t start, int64_t t, int64_t c) {
      const float y = x.filter(s, t, c);
      store(x.y, (start + t) * inputs.d + c, x.activates ? activated(y) : y);
    });
  }
};

// The state after a sequence is its last inputs.
struct FinalState {
  static constexpr int kThreads = kChannels;
  struct Args {
    Inputs inputs;
    Out state;
  };
  struct Shared {};

  static FW_DEVICE void run(const Args& x, Shared&) {
    at_state(x.inputs, [&](int64_t s, int64_t c, int64_t j) {
      const int64_t history = x.inputs.history, length = x.inputs.sequences.length(s);
      store(x.state, (s * x.inputs.d + c) * history + j, x.inputs.at(s, length - history + j, c));
    });
  }
};

struct InputGradients {
  static constexpr int kThreads = kChannels;
  struct Args {
    InputGradient gradient;
    Out dx;
    int64_t total;
  };
  struct Shared {};

  static FW_DEVICE void run(const Args& x, Shared&) {
    const Inputs& inputs = x.gradient.slope.filter.inputs;
    each_place(inputs.sequences, x.total, inputs.d, [&](int64_t s, int64_t start, int64_t t, int64_t c) {
      store(x.dx, (start + t) * inputs.d + c, x.gradient(s, t, c));
    });
  }
};

struct StateGradients {
  static constexpr int kThreads = kChannels;
  struct Args {
    InputGradient gradient;
    Out dstate;
  };
  struct Shared {};

  static FW_DEVICE void run(const Args& x, Shared&) {
    const Inputs& inputs = x.gradient.slope.filter.inputs;
    at_state(inputs, [&](int64_t s, int64_t c, int64_t j) {
      store(x.dstate, (s * inputs.d + c) * inputs.history + j, x.gradient(s, j - inputs.history, c));
    });
  }
};

// sequence_of[token]: a search for each token, not for each element of the weights' gradients.
struct SequenceOfTokens {
  static constexpr int kThreads = kChannels;
  struct Args {
    Sequences sequences;
    int32_t* sequence_of;
    int64_t total;
  };
  struct Shared {};

  static FW_DEVICE void run(const Args& x, Shared&) {
    const int64_t token = block() * kChannels + thread();
    if (token < x.total) x.sequence_of[token] = static_cast<int32_t>(x.sequences.of(token));
  }
};

// What a token adds to the gradient of weight[c, j], output c * width + j.
struct WeightTerm {
  Slope slope;
  const int32_t* sequence_of;

  FW_DEVICE Sum operator()(int64_t output, int64_t token) const {
    const Inputs& inputs = slope.filter.inputs;
    const int64_t width = inputs.history + 1, c = output / width, j = output % width;
    const int64_t s = sequence_of[token], t = token - inputs.sequences.start(s);
    return {slope(s, t, c) * inputs.at(s, t - inputs.history + j, c), 0.0f};
  }
};

struct BiasTerm {
  Slope slope;
  const int32_t* sequence_of;

  FW_DEVICE Sum operator()(int64_t c, int64_t token) const {
    const int64_t s = sequence_of[token];
    return {slope(s, token - slope.filter.inputs.sequences.start(s), c), 0.0f};
  }
};

struct Step {
  static constexpr int kThreads = kChannels;
  using Args = shortConvStepArgs;
  struct Shared {};

  static FW_DEVICE void run(const Args& x, Shared&) {
    const int64_t i = block() * kChannels + thread(), history = x.width - 1;
    if (i >= x.batch * x.d) return;
    const int64_t c = i % x.d;
    const float present = load(x.x, i);
    float y = x.bias.data ? load(x.bias, c) : 0.0f;
    for (int64_t j = 0; j < history; j++) {
      y = fmaf(load(x.weight, c * x.width + j), load(x.state, i * history + j), y);
      store(x.state, i * history + j, j + 1 < history ? load(x.state, i * history + j + 1) : present);
    }
    y = fmaf(load(x.weight, c * x.width + history), present, y);
    store(x.y, i, x.activation == kSiluActivation ? activated(y) : y);
  }
};

// Whether the kernels of conv_rows.cuh are for it.
bool has_few_taps(int64_t width) { return width >= kLeastTaps && width <= kMostTaps; }

void backward_rows(const Context& cx, const Slope& slope, const shortConvBackwardArgs& x, int64_t total) {
  const Inputs& inputs = slope.filter.inputs;
  const DType dtype = inputs.x.dtype;
  const int64_t strips = ceil_div(total, kSummed), sums = (x.width + 1) * x.d;
  float* const kept = cx.scratch_of<float>(strips * sums);
  const bool whole = lies_whole(inputs.x.data, inputs.x.token, dtype) && lies_whole(x.dy.data, x.d, dtype) &&
                     lies_whole(x.dx.data, x.d, dtype);
  const ConvolveRowsBackArgs args{slope.filter, x.dy, x.dfinalState, x.dx, kept, slope.activates, {}};
  launch_strips<ConvolveRowsBack>(cx, args, whole);
  add_strips(cx, {kept, strips, x.d, x.width, x.dweight, x.dbias});
}

void backward_places(const Context& cx, const InputGradient& gradient, const shortConvBackwardArgs& x, int64_t total) {
  const Sequences& sequences = gradient.slope.filter.inputs.sequences;
  launch_places<InputGradients>(cx, {gradient, x.dx, total}, sequences, x.d);
  int32_t* sequence_of = cx.scratch_of<int32_t>(total);
  launch<SequenceOfTokens>(cx, ceil_div(total, kChannels), {sequences, sequence_of, total});
  fold<1>(cx, WeightTerm{gradient.slope, sequence_of}, x.d * x.width, total, kSum, 1, x.dweight);
  if (x.dbias.data) fold<1>(cx, BiasTerm{gradient.slope, sequence_of}, x.d, total, kSum, 1, x.dbias);
}

}  // namespace

void shortConv(const Context& cx, const shortConvArgs& x) {
  require_known("shortConv", "activation", x.activation, kSiluActivation + 1);
  const Filter filter = filter_of(x);
  const Inputs& inputs = filter.inputs;
  const bool activates = x.activation == kSiluActivation;
  const DType dtype = inputs.x.dtype;
  if (has_few_taps(x.width) && x.y.dtype == dtype) {
    const bool whole = lies_whole(inputs.x.data, inputs.x.token, dtype) && lies_whole(x.y.data, x.d, dtype);
    launch_strips<ConvolveRows>(cx, ConvolveRowsArgs{filter, x.y, activates, {}}, whole);
  } else {
    launch_places<Convolve>(cx, {filter, x.y, inputs.sequences.total(), activates}, inputs.sequences, x.d);
  }
  if (x.finalState.data) launch_states<FinalState>(cx, {inputs, x.finalState}, inputs);
}

void shortConvBackward(const Context& cx, const shortConvBackwardArgs& x) {
  require_known("shortConvBackward", "activation", x.activation, kSiluActivation + 1);
  const Slope slope{filter_of(x), x.dy, x.activation == kSiluActivation};
  const Inputs& inputs = slope.filter.inputs;
  const InputGradient gradient{slope, x.dfinalState};
  const int64_t total = inputs.sequences.total();
  const bool alike = x.dy.dtype == inputs.x.dtype && x.dx.dtype == inputs.x.dtype;
  if (alike && total > 0 && has_few_taps(x.width)) backward_rows(cx, slope, x, total);
  else backward_places(cx, gradient, x, total);
  if (x.dinitialState.data) launch_states<StateGradients>(cx, {gradient, x.dinitialState}, inputs);
}

void shortConvStep(const Context& cx, const shortConvStepArgs& x) {
  require_known("shortConvStep", "activation", x.activation, kSiluActivation + 1);
  launch<Step>(cx, ceil_div(x.batch * x.d, kChannels), x);
}

}  // namespace fw::cuda
