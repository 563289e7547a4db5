// What the kernels of the causal depthwise convolution share: its inputs, and a single output or gradient.
#pragma once
#include "math.cuh"
#include "sequences.cuh"

namespace fw::cuda {

// A sequence's inputs x [tokens, d], preceded by its state [sequences, d, history] where there is one.
struct Inputs {
  Heads x;
  In state;
  Sequences sequences;
  int64_t d, history;

  // Input t (from -history) of sequence s, channel c.
  FW_DEVICE float at(int64_t s, int64_t t, int64_t c) const {
    if (t >= 0) return element(x.data, x.dtype, (sequences.start(s) + t) * x.token + c);
    return before(s, t, c);
  }
  // The same for t < 0.
  FW_DEVICE float before(int64_t s, int64_t t, int64_t c) const {
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

// silu and its slope, with one reciprocal of a number in [1, 2] that has no other ways than the fast one: branches would
// keep channels from being computed side by side.
struct Activation {
  float sigmoid, slope;  // of the sigmoid

  FW_DEVICE explicit Activation(float x) {
    const float e = expf(-fabsf(x)), u = 1.0f + e, near = __fdividef(1.0f, u), r = fmaf(near, fmaf(-u, near, 1.0f), near);
    sigmoid = x < 0 ? e * r : r;
    slope = e * r * r;
  }
};
FW_DEVICE float activated(float x) { return fading(x, Activation(x).sigmoid); }
FW_DEVICE float activatedSlope(float x) {
  const Activation at(x);
  return fading(x, at.slope) + at.sigmoid;
}

// The gradient of an output before its activation.
struct Slope {
  Filter filter;
  In dy;
  bool activates;

  FW_DEVICE float operator()(int64_t s, int64_t t, int64_t c) const {
    const float g = load(dy, (filter.inputs.sequences.start(s) + t) * filter.inputs.d + c);
    return activates ? g * activatedSlope(filter(s, t, c)) : g;
  }
};

// Input t feeds output t + lag through weight history - lag; the last inputs of a sequence are its final state.
struct InputGradient {
  Slope slope;
  In dfinal;

  FW_DEVICE float operator()(int64_t s, int64_t t, int64_t c) const {
    const Inputs& inputs = slope.filter.inputs;
    const int64_t history = inputs.history, length = inputs.sequences.length(s), kept = t - (length - history);
    float g = dfinal.data && kept >= 0 ? load(dfinal, (s * inputs.d + c) * history + kept) : 0.0f;
    for (int64_t lag = t < 0 ? -t : 0; lag <= history && t + lag < length; lag++)
      g = fmaf(load(slope.filter.weight, c * (history + 1) + history - lag), slope(s, t + lag, c), g);
    return g;
  }
};

}  // namespace fw::cuda
