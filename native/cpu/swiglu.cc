// y = silu(gate) up, and its gradients.
#include "swiglu.h"

FW_NAMESPACE_BEGIN

constexpr int64_t kGrain = 16384;

void swiglu(const Context& cx, const swigluArgs& x) {
  const float *gate = x.gate, *up = x.up;
  float* y = x.y;
  parallel_blocks(cx, x.n, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += kLanes) {
      const int64_t left = end - i;
      store_first(y + i, gated(load_first(gate + i, left), load_first(up + i, left)), left);
    }
  });
}

void swigluBackward(const Context& cx, const swigluBackwardArgs& x) {
  const float *gate = x.gate, *up = x.up, *dy = x.dy;
  float *dgate = x.dgate, *dup = x.dup;
  parallel_blocks(cx, x.n, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += kLanes) {
      const int64_t left = end - i;
      const Gated g = gated_backward(load_first(gate + i, left), load_first(up + i, left), load_first(dy + i, left));
      store_first(dgate + i, g.dgate, left);
      store_first(dup + i, g.dup, left);
    }
  });
}

FW_NAMESPACE_END
