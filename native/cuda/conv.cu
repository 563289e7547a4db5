// Causal depthwise convolution over time: whole sequences, their gradients, and one token.
#include "fold.cuh"
#include "math.cuh"
#include "sequences.cuh"

namespace fw::cuda {
namespace {

// A block owns kThreads channels of kTokens tokens.
constexpr int kChannels = 256;
constexpr int64_t kTokens = 16;

// A sequence's inputs x [tokens, d], preceded by its state [sequences, d, history] where there is one.
struct Inputs {
  Heads x;
  In state;
  Sequences sequences;
  int64_t d, history;

  // Input t (from -history) of sequence s, channel c.
  FW_DEVICE float at(int64_t s, int64_t t, int64_t c) const {
    if (t >= 0) return element(x.data, x.dtype, (sequences.start(s) + t) * x.token + c);
    return state.data ? load(state, (s * d + c) * history + history + t) : 0.0f;
  }
};

// bias + sum over j of weight[c, j] times input t - history + j.
struct Filter {
  Inputs inputs;
  In weight, bias;

  FW_DEVICE float operator()(int64_t s, int64_t t, int64_t c) const {
    const int64_t history = inputs.history, row = c * (history + 1);
    float y = bias.data ? load(bias, c) : 0.0f;
    for (int64_t j = 0; j <= history; j++) y = fmaf(load(weight, row + j), inputs.at(s, t - history + j, c), y);
    return y;
  }
};

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
    bool activated;
  };
  struct Shared {};

  static FW_DEVICE void run(const Args& x, Shared&) {
    const Inputs& inputs = x.filter.inputs;
    each_place(inputs.sequences, x.total, inputs.d, [&](int64_t s, int64_t start, int64_t t, int64_t c) {
      const float y = x.filter(s, t, c);
      store(x.y, (start + t) * inputs.d + c, x.activated ? silu(y) : y);
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

// slopes [tokens, d]: gradients before the activation.
struct Slopes {
  static constexpr int kThreads = kChannels;
  struct Args {
    Filter filter;
    In dy;
    Out slopes;
    int64_t total;
  };
  struct Shared {};

  static FW_DEVICE void run(const Args& x, Shared&) {
    const Inputs& inputs = x.filter.inputs;
    each_place(inputs.sequences, x.total, inputs.d, [&](int64_t s, int64_t start, int64_t t, int64_t c) {
      const int64_t at = (start + t) * inputs.d + c;
      store(x.slopes, at, load(x.dy, at) * siluSlope(x.filter(s, t, c)));
    });
  }
};

// Input t feeds output t + lag through weight history - lag; the last inputs of a sequence are its final state.
struct InputGradient {
  Sequences sequences;
  In weight, slopes, dfinal;
  int64_t d, history;

  FW_DEVICE float operator()(int64_t s, int64_t t, int64_t c) const {
    const int64_t start = sequences.start(s), length = sequences.length(s), kept = t - (length - history);
    float g = dfinal.data && kept >= 0 ? load(dfinal, (s * d + c) * history + kept) : 0.0f;
    for (int64_t lag = t < 0 ? -t : 0; lag <= history && t + lag < length; lag++)
      g = fmaf(load(weight, c * (history + 1) + history - lag), load(slopes, (start + t + lag) * d + c), g);
    return g;
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
    const int64_t d = x.gradient.d;
    each_place(x.gradient.sequences, x.total, d, [&](int64_t s, int64_t start, int64_t t, int64_t c) {
      store(x.dx, (start + t) * d + c, x.gradient(s, t, c));
    });
  }
};

struct StateGradients {
  static constexpr int kThreads = kChannels;
  struct Args {
    InputGradient gradient;
    Inputs inputs;
    Out dstate;
  };
  struct Shared {};

  static FW_DEVICE void run(const Args& x, Shared&) {
    at_state(x.inputs, [&](int64_t s, int64_t c, int64_t j) {
      const int64_t history = x.inputs.history;
      store(x.dstate, (s * x.inputs.d + c) * history + j, x.gradient(s, j - history, c));
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
  Inputs inputs;
  In slopes;
  const int32_t* sequence_of;

  FW_DEVICE Sum operator()(int64_t output, int64_t token) const {
    const int64_t width = inputs.history + 1, c = output / width, j = output % width;
    const int64_t s = sequence_of[token], t = token - inputs.sequences.start(s);
    return {load(slopes, token * inputs.d + c) * inputs.at(s, t - inputs.history + j, c), 0.0f};
  }
};

struct BiasTerm {
  In slopes;
  int64_t d;
  FW_DEVICE Sum operator()(int64_t c, int64_t token) const { return {load(slopes, token * d + c), 0.0f}; }
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
    store(x.y, i, x.activation == kSiluActivation ? silu(y) : y);
  }
};

}  // namespace

void shortConv(const Context& cx, const shortConvArgs& x) {
  require_known("shortConv", "activation", x.activation, kSiluActivation + 1);
  const Filter filter = filter_of(x);
  const Sequences& sequences = filter.inputs.sequences;
  launch_places<Convolve>(cx, {filter, x.y, sequences.total(), x.activation == kSiluActivation}, sequences, x.d);
  if (x.finalState.data) launch_states<FinalState>(cx, {filter.inputs, x.finalState}, filter.inputs);
}

void shortConvBackward(const Context& cx, const shortConvBackwardArgs& x) {
  require_known("shortConvBackward", "activation", x.activation, kSiluActivation + 1);
  const Filter filter = filter_of(x);
  const Sequences& sequences = filter.inputs.sequences;
  const int64_t total = sequences.total();
  In slopes = x.dy;
  if (x.activation == kSiluActivation) {
    Out computed;
    computed.data = cx.scratch_of<float>(total * x.d);
    launch_places<Slopes>(cx, {filter, x.dy, computed, total}, sequences, x.d);
    slopes.data = computed.data;
    slopes.dtype = computed.dtype;
  }
  const InputGradient gradient{sequences, x.weight, slopes, x.dfinalState, x.d, x.width - 1};
  launch_places<InputGradients>(cx, {gradient, x.dx, total}, sequences, x.d);
  if (x.dinitialState.data)
    launch_states<StateGradients>(cx, {gradient, filter.inputs, x.dinitialState}, filter.inputs);
  int32_t* sequence_of = cx.scratch_of<int32_t>(total);
  launch<SequenceOfTokens>(cx, ceil_div(total, kChannels), {sequences, sequence_of, total});
  fold<1>(cx, WeightTerm{filter.inputs, slopes, sequence_of}, x.d * x.width, total, kSum, 1, x.dweight);
  if (x.dbias.data) fold<1>(cx, BiasTerm{slopes, x.d}, x.d, total, kSum, 1, x.dbias);
}

void shortConvStep(const Context& cx, const shortConvStepArgs& x) {
  require_known("shortConvStep", "activation", x.activation, kSiluActivation + 1);
  launch<Step>(cx, ceil_div(x.batch * x.d, kChannels), x);
}

}  // namespace fw::cuda
