// silu(gate) up on vectors, and its gradients.
#pragma once
#include "vec.h"

FW_NAMESPACE_BEGIN

FW_INLINE Vec gated(Vec gate, Vec up) { return vsilu(gate) * up; }

struct Gated {
  Vec y, dgate, dup;
};
FW_INLINE Gated gated_backward(Vec gate, Vec up, Vec dy) {
  const Vec s = vsigmoid(gate), activated = vsilu(gate);
  return {activated * up, dy * up * vsilu_slope(gate, s), dy * activated};
}

FW_NAMESPACE_END
