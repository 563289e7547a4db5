// Optimiser steps over all parameters in one call: one pass over parameter, gradient and moments.
#include <math.h>

#include "vec.h"

FW_NAMESPACE_BEGIN

constexpr int64_t kGrain = 16384;

FW_INLINE Vec vsqrt(Vec x) {
  Vec y;
  for (int i = 0; i < kLanes; i++) y[i] = __builtin_sqrtf(x[i]);
  return y;
}

// Calls body(i, begin, end) for blocks of elements of every item i of a list, on all threads.
template <class Body>
static void for_blocks(const Context& cx, const List& list, const Body& body) {
  const auto blocks = [&](int64_t i) { return (list[i].size + kGrain - 1) / kGrain; };
  int64_t tasks = 0;
  for (int64_t i = 0; i < list.count; i++) tasks += blocks(i);
  parallel(cx, tasks, [&](int64_t task) {
    int64_t i = 0;
    for (; task >= blocks(i); i++) task -= blocks(i);
    const int64_t begin = task * kGrain, end = begin + kGrain;
    body(i, begin, end < list[i].size ? end : list[i].size);
  });
}

void adam(const Context& cx, const adamArgs& x) {
  if (x.gradientScale.data && __builtin_isnan(x.gradientScale[0])) return;
  const Vec scale = splat(x.gradientScale.data ? x.gradientScale[0] : 1.0f);
  const Vec beta1 = splat(float(x.beta1)), rest1 = splat(float(1 - x.beta1));
  const Vec beta2 = splat(float(x.beta2)), rest2 = splat(float(1 - x.beta2));
  const Vec step = splat(float(x.learningRate / x.correction1)), eps = splat(float(x.eps));
  const Vec root = splat(float(1 / sqrt(x.correction2)));
  const Vec coupled = splat(x.coupled ? float(x.weightDecay) : 0.0f);
  const Vec keep = splat(x.coupled ? 1.0f : float(1 - x.learningRate * x.weightDecay));
  for_blocks(cx, x.parameters, [&](int64_t item, int64_t begin, int64_t end) {
    float *parameter = x.parameters[item], *mean = x.means[item], *square = x.squares[item];
    const float* gradient = x.gradients[item];
    for (int64_t i = begin; i < end; i += kLanes) {
      const int64_t left = end - i;
      const Vec p = load_first(parameter + i, left);
      const Vec g = fma(coupled, p, scale * load_first(gradient + i, left));
      const Vec m = fma(beta1, load_first(mean + i, left), rest1 * g);
      const Vec v = fma(beta2, load_first(square + i, left), rest2 * g * g);
      store_first(mean + i, m, left);
      store_first(square + i, v, left);
      store_first(parameter + i, keep * p - step * m / fma(vsqrt(v), root, eps), left);
    }
  });
}

void sgd(const Context& cx, const sgdArgs& x) {
  if (x.gradientScale.data && __builtin_isnan(x.gradientScale[0])) return;
  const Vec scale = splat(x.gradientScale.data ? x.gradientScale[0] : 1.0f);
  const Vec rate = splat(float(x.learningRate)), momentum = splat(float(x.momentum));
  const Vec decay = splat(float(x.weightDecay));
  for_blocks(cx, x.parameters, [&](int64_t item, int64_t begin, int64_t end) {
    float* parameter = x.parameters[item];
    float* buffer = x.momentumBuffers.count > 0 ? static_cast<float*>(x.momentumBuffers[item]) : nullptr;
    const float* gradient = x.gradients[item];
    for (int64_t i = begin; i < end; i += kLanes) {
      const int64_t left = end - i;
      const Vec p = load_first(parameter + i, left);
      Vec g = fma(decay, p, scale * load_first(gradient + i, left));
      if (buffer) {
        const Vec b = fma(momentum, load_first(buffer + i, left), g);
        store_first(buffer + i, b, left);
        g = x.nesterov ? fma(momentum, b, g) : b;
      }
      store_first(parameter + i, p - rate * g, left);
    }
  });
}

FW_NAMESPACE_END
