// Causal depthwise convolution over time: whole sequences, their gradients, and one token.
#include <string.h>

#include "side_by_side.h"

FW_NAMESPACE_BEGIN

// A task owns up to kTokens tokens of one sequence and kChannels channels, and copies the inputs that they see, states
// included, into rows of kChannels floats.
constexpr int64_t kTokens = 128, kChannels = 16 * kLanes;

struct Chunk {
  int64_t sequence, start, length;  // tokens of the sequence: where they begin among all, how many
  int64_t begin, end;               // of this chunk, within the sequence
};

// Cuts the sequences into chunks, at least one for each, so that empty ones pass their state on.
static int64_t cut(const Context& cx, const InMaybe& offsets, int64_t sequences, int64_t tokens, Chunk** chunks) {
  const int64_t total = offsets.data ? tokens : sequences * tokens;
  *chunks = static_cast<Chunk*>(cx.scratch(0, (total / kTokens + sequences + 1) * int64_t(sizeof(Chunk))));
  int64_t count = 0;
  for (int64_t s = 0; s < sequences; s++) {
    const int64_t start = offsets.data ? offsets.ints()[s] : s * tokens;
    const int64_t length = offsets.data ? offsets.ints()[s + 1] - start : tokens;
    for (int64_t begin = 0; begin == 0 || begin < length; begin += kTokens)
      (*chunks)[count++] = {s, start, length, begin, begin + kTokens < length ? begin + kTokens : length};
  }
  return count;
}

// rows[i, c] = input begin - history + i of the chunk's sequence, for i < count; before the sequence, its state.
static void gather_inputs(const Heads& x, const InMaybe& state, const Chunk& chunk, int64_t d, int64_t history,
                          int64_t c, int64_t channels, int64_t count, float* rows) {
  for (int64_t i = 0; i < count; i++) {
    const int64_t t = chunk.begin - history + i;
    float* row = rows + i * kChannels;
    if (t >= 0) {
      memcpy(row, x.data + (chunk.start + t) * x.token + c, channels * sizeof(float));
    } else if (state.data) {
      const float* from = state + (chunk.sequence * d + c) * history + history + t;
      for (int64_t j = 0; j < channels; j++) row[j] = from[j * history];
    } else {
      memset(row, 0, channels * sizeof(float));
    }
    memset(row + channels, 0, (kChannels - channels) * sizeof(float));
  }
}

// weights[j, c], j < width, then the bias, for the channels of a task.
static void gather_weights(const In& weight, const InMaybe& bias, int64_t width, int64_t c, int64_t channels,
                           float* weights) {
  memset(weights, 0, (width + 1) * kChannels * sizeof(float));
  for (int64_t i = 0; i < channels; i++)
    for (int64_t j = 0; j < width; j++) weights[j * kChannels + i] = weight[(c + i) * width + j];
  if (bias.data) memcpy(weights + width * kChannels, bias + c, channels * sizeof(float));
}

// bias + sum over j of weight[j] row[j]: the output of the token whose oldest input is at `rows`.
FW_INLINE Vec convolve(const float* rows, const float* weights, int64_t width) {
  Vec y = load(weights + width * kChannels);
  for (int64_t j = 0; j < width; j++) y = fma(load(weights + j * kChannels), load(rows + j * kChannels), y);
  return y;
}

void shortConv(const Context& cx, const shortConvArgs& x) {
  const int64_t d = x.d, width = x.width, history = width - 1, strips = (d + kChannels - 1) / kChannels;
  Chunk* chunks;
  const int64_t count = cut(cx, x.offsets, x.sequences, x.tokens, &chunks);
  parallel(cx, count * strips, [&](int64_t task) {
    const Chunk& chunk = chunks[task / strips];
    const int64_t c = task % strips * kChannels, channels = d - c < kChannels ? d - c : kChannels;
    const int64_t tokens = chunk.end - chunk.begin;
    float* rows =
        static_cast<float*>(cx.scratch(1, (tokens + history + width + 1) * kChannels * int64_t(sizeof(float))));
    float* weights = rows + (tokens + history) * kChannels;
    gather_inputs(x.x, x.initialState, chunk, d, history, c, channels, tokens + history, rows);
    gather_weights(x.weight, x.bias, width, c, channels, weights);
    for (int64_t t = 0; t < tokens; t++) {
      float* y = x.y + (chunk.start + chunk.begin + t) * d + c;
      for (int64_t i = 0; i < channels; i += kLanes) {
        const Vec v = convolve(rows + t * kChannels + i, weights + i, width);
        store_first(y + i, x.activation == kSiluActivation ? vsilu(v) : v, channels - i);
      }
    }
    if (x.finalState.data && chunk.end == chunk.length) {
      float* state = x.finalState + (chunk.sequence * d + c) * history;
      for (int64_t i = 0; i < channels; i++)
        for (int64_t j = 0; j < history; j++) state[i * history + j] = rows[(tokens + j) * kChannels + i];
    }
  });
}

void shortConvBackward(const Context& cx, const shortConvBackwardArgs& x) {
  const int64_t d = x.d, width = x.width, history = width - 1, strips = (d + kChannels - 1) / kChannels;
  Chunk* chunks;
  const int64_t count = cut(cx, x.offsets, x.sequences, x.tokens, &chunks);
  // Gradients of the weights and the bias: [width + 1, d] per chunk, summed over the chunks in their order.
  const int64_t size = (width + 1) * d;
  float* partial = static_cast<float*>(cx.scratch(2, (count + 1) * size * int64_t(sizeof(float))));
  parallel(cx, count * strips, [&](int64_t task) {
    const Chunk& chunk = chunks[task / strips];
    const int64_t c = task % strips * kChannels, channels = d - c < kChannels ? d - c : kChannels;
    const int64_t tokens = chunk.end - chunk.begin, left = chunk.length - chunk.begin;
    // The outputs that the chunk's inputs reach: its own and those of the next `history` tokens.
    const int64_t reached = left < tokens + history ? left : tokens + history;
    float* rows = static_cast<float*>(
        cx.scratch(1, (2 * (tokens + 2 * history) + width + 1) * kChannels * int64_t(sizeof(float))));
    float* slopes = rows + (tokens + 2 * history) * kChannels;  // gradients before the activation
    float* weights = slopes + (tokens + 2 * history) * kChannels;
    gather_inputs(x.x, x.initialState, chunk, d, history, c, channels, reached + history, rows);
    gather_weights(x.weight, x.bias, width, c, channels, weights);
    for (int64_t t = 0; t < reached; t++) {
      const float* dy = x.dy + (chunk.start + chunk.begin + t) * d + c;
      for (int64_t i = 0; i < channels; i += kLanes) {
        Vec g = load_first(dy + i, channels - i);
        if (x.activation == kSiluActivation) {
          const Vec v = convolve(rows + t * kChannels + i, weights + i, width);
          g = g * vsilu_slope(v, vsigmoid(v));
        }
        store(slopes + t * kChannels + i, g);
      }
    }
    // Input t feeds output t + lag through weight history - lag; the last inputs of the sequence are its final state.
    const auto input_gradient = [&](int64_t t, int64_t i) {
      Vec g{};
      const int64_t last = history < reached - 1 - t ? history : reached - 1 - t;
      for (int64_t lag = t < 0 ? -t : 0; lag <= last; lag++)
        g = fma(load(weights + (history - lag) * kChannels + i), load(slopes + (t + lag) * kChannels + i), g);
      const int64_t kept = t - (left - history);
      if (x.dfinalState.data && kept >= 0 && kept < history) {
        const float* from = x.dfinalState + (chunk.sequence * d + c + i) * history + kept;
        for (int64_t l = 0; l < kLanes && i + l < channels; l++) g[l] += from[l * history];
      }
      return g;
    };
    for (int64_t t = 0; t < tokens; t++)
      for (int64_t i = 0; i < channels; i += kLanes)
        store_first(x.dx + (chunk.start + chunk.begin + t) * d + c + i, input_gradient(t, i), channels - i);
    if (x.dinitialState.data && chunk.begin == 0)
      for (int64_t j = 0; j < history; j++)
        for (int64_t i = 0; i < channels; i += kLanes) {
          const Vec g = input_gradient(j - history, i);
          float* to = x.dinitialState + (chunk.sequence * d + c + i) * history + j;
          for (int64_t l = 0; l < kLanes && i + l < channels; l++) to[l * history] = g[l];
        }
    float* sums = partial + task / strips * size + c;
    for (int64_t i = 0; i < channels; i += kLanes) {
      Vec bias{};
      for (int64_t t = 0; t < tokens; t++) bias += load(slopes + t * kChannels + i);
      store_first(sums + width * d + i, bias, channels - i);
      for (int64_t j = 0; j < width; j += 4) {
        // Four columns of the weight at once; beyond the last one, that one again.
        const float* row[4];
        for (int64_t u = 0; u < 4; u++) row[u] = rows + (j + u < width ? j + u : history) * kChannels + i;
        Vec g[4] = {};
        for (int64_t t = 0; t < tokens; t++) {
          const Vec slope = load(slopes + t * kChannels + i);
          for (int u = 0; u < 4; u++) g[u] = fma(slope, load(row[u] + t * kChannels), g[u]);
        }
        for (int64_t u = 0; u < 4 && j + u < width; u++) store_first(sums + (j + u) * d + i, g[u], channels - i);
      }
    }
  });
  parallel_blocks(cx, d, 64, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += kLanes)
      for (int64_t j = 0; j <= width; j++) {
        Vec total{};
        for (int64_t chunk = 0; chunk < count; chunk++)
          total += load_first(partial + chunk * size + j * d + i, end - i);
        if (j == width && x.dbias.data) store_first(x.dbias + i, total, end - i);
        for (int64_t l = 0; j < width && l < kLanes && i + l < end; l++) x.dweight[(i + l) * width + j] = total[l];
      }
  });
}

// One token of neighbouring channels of a text, from channel `i` on.
static void step_channels(const float* weight, const float* bias, const float* x, float* state, float* y, int64_t i,
                          int64_t channels, int64_t width) {
  const int64_t history = width - 1;
  for (; i < channels; i++) {
    float sum = bias ? bias[i] : 0.0f;
    for (int64_t j = 0; j < history; j++) sum += weight[i * width + j] * state[i * history + j];
    y[i] = sum + weight[i * width + history] * x[i];
    for (int64_t j = 0; j + 1 < history; j++) state[i * history + j] = state[i * history + j + 1];
    if (history > 0) state[i * history + history - 1] = x[i];
  }
}

// The same for a width that is known.
template <int kWidth>
static void step_vectors(const float* weight, const float* bias, const float* x, float* state, float* y, int64_t i,
                         int64_t channels, int64_t width) {
  constexpr int kHistory = kWidth - 1;
  for (; i + kLanes <= channels; i += kLanes) {
    Vec weights[kWidth], recent[kHistory];
    load_apart(weight + i * kWidth, weights);
    load_apart(state + i * kHistory, recent);
    const Vec now = load(x + i);
    Vec sum = bias ? load(bias + i) : Vec{};
#pragma GCC unroll 4
    for (int j = 0; j < kHistory; j++) sum = fma(weights[j], recent[j], sum);
    store(y + i, fma(weights[kHistory], now, sum));
#pragma GCC unroll 4
    for (int j = 0; j + 1 < kHistory; j++) recent[j] = recent[j + 1];
    recent[kHistory - 1] = now;
    store_together(state + i * kHistory, recent);
  }
  step_channels(weight, bias, x, state, y, i, channels, width);
}

void shortConvStep(const Context& cx, const shortConvStepArgs& x) {
  const int64_t d = x.d, width = x.width, history = width - 1;
  const auto step = width == 4 ? step_vectors<4> : step_channels;
  parallel_blocks(cx, x.batch * d, 8192 / width + 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end;) {
      const int64_t c = i % d, channels = end - i < d - c ? end - i : d - c;
      step(x.weight + c * width, x.bias.data ? x.bias + c : nullptr, x.x + i, x.state + i * history, x.y + i, 0,
           channels, width);
      i += channels;
    }
    if (x.activation != kSiluActivation) return;
    for (int64_t i = begin; i < end; i += kLanes) {
      const Vec v = load_first(x.y + i, end - i);
      store_first(x.y + i, vsilu(v), end - i);
    }
  });
}

FW_NAMESPACE_END
