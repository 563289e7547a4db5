// What is done with the elements of a product before they are stored.
#pragma once
#include "../math.cuh"
#include "../operand.cuh"

namespace fw::cuda::gemm {

enum Finish {
  kScale,         // y = alpha sum, added to what is there when `accumulate`
  kActivate,      // preactivation = sum + bias, y = activation of it, + residual
  kGate,          // up = sum, y = silu(gate) up
  kGateBackward,  // sum is the gradient of y = silu(gate) up, which is made again
};

// y is strided; the others are [rows, columns] or, the bias, [columns]. What `finish` does not need may be absent.
struct Epilogue {
  Finish finish = kScale;
  Out y;
  int64_t batch1 = 0, batch2 = 0, row = 0, column = 1;
  float alpha = 1;
  bool accumulate = false, activate = false;
  In bias, residual, gate, upIn;
  Out preactivation, up, dgate, dup;

  // An element of the result: where it lies in y and in the others, its column, what is to be read for it.
  struct Element {
    int64_t to, at, c;
    float first, second;
  };

  // Row r and column c of n of member (i, j).
  FW_DEVICE Element read(int64_t i, int64_t j, int64_t r, int64_t c, int64_t n) const {
    Element e = {i * batch1 + j * batch2 + r * row + c * column, r * n + c, c, 0, 0};
    switch (finish) {
      case kScale:
        if (accumulate) e.first = load(y, e.to);
        break;
      case kActivate:
        if (bias.data) e.first = load(bias, c);
        if (residual.data) e.second = load(residual, e.at);
        break;
      case kGateBackward: e.second = load(upIn, e.at); [[fallthrough]];
      case kGate: e.first = load(gate, e.at); break;
    }
    return e;
  }

  FW_DEVICE void write(const Element& e, float sum) const {
    switch (finish) {
      case kScale: return store(y, e.to, accumulate ? e.first + alpha * sum : alpha * sum);
      case kActivate: {
        const float z = bias.data ? sum + e.first : sum, x = activate ? silu(z) : z;
        if (preactivation.data) store(preactivation, e.at, z);
        return store(y, e.to, residual.data ? x + e.second : x);
      }
      case kGate:
        if (up.data) store(up, e.at, sum);
        return store(y, e.to, silu(e.first) * sum);
      case kGateBackward: {
        const float gate = e.first, up = e.second, activated = silu(gate);
        store(dgate, e.at, sum * up * siluSlope(gate));
        store(dup, e.at, sum * activated);
        return store(y, e.to, activated * up);
      }
    }
  }
};

}  // namespace fw::cuda::gemm
