// y = silu(gate) up, and its gradients.
#include "flat.cuh"
#include "math.cuh"

namespace fw::cuda {

struct Swiglu {
  static constexpr int kThreads = kFlatThreads;
  using Args = swigluArgs;
  struct Shared {};
  static FW_DEVICE void run(const Args& a, Shared&) {
    const int64_t i = kRun * flatThread(), left = a.n - i;
    if (left <= 0) return;
    const Run<float> gate = loadRun(a.gate, i, left);
    Run<float> y = loadRun(a.up, i, left);
    FW_UNROLL for (int j = 0; j < kRun; j++) y.at[j] *= silu(gate.at[j]);
    storeRun(a.y, i, left, y);
  }
};

struct SwigluBackward {
  static constexpr int kThreads = kFlatThreads;
  using Args = swigluBackwardArgs;
  struct Shared {};
  static FW_DEVICE void run(const Args& a, Shared&) {
    const int64_t i = kRun * flatThread(), left = a.n - i;
    if (left <= 0) return;
    const Run<float> gate = loadRun(a.gate, i, left), up = loadRun(a.up, i, left), dy = loadRun(a.dy, i, left);
    Run<float> dgate, dup;
    FW_UNROLL for (int j = 0; j < kRun; j++) {
      dgate.at[j] = dy.at[j] * up.at[j] * siluSlope(gate.at[j]);
      dup.at[j] = dy.at[j] * silu(gate.at[j]);
    }
    storeRun(a.dgate, i, left, dgate);
    storeRun(a.dup, i, left, dup);
  }
};

void swiglu(const Context& cx, const swigluArgs& a) { launch<Swiglu>(cx, flatBlocks(a.n), a); }
void swigluBackward(const Context& cx, const swigluBackwardArgs& a) {
  launch<SwigluBackward>(cx, flatBlocks(a.n), a);
}

}  // namespace fw::cuda
