// Sums over strips of rows: a block that walks through a strip keeps its sums, and the strips' are added up in their order.
#pragma once
#include "exact.cuh"
#include "operand.cuh"

namespace fw::cuda {

// Adds up sums [strips, taps + 1, d], of which the last d are those of the bias, to dweight [d, taps] and dbias [d]: a
// block's warps share the strips of 32 sums.
struct AddStrips {
  static constexpr int kThreads = 256, kWarps = kThreads / kWarp, kAhead = 8;
  struct Args {
    const float* sums;
    int64_t strips, d, taps;
    Out dweight;
    OutMaybe dbias;
  };
  struct Shared {
    Sum parts[kWarps][kWarp];
  };

  static FW_DEVICE void run(const Args& x, Shared& shared) {
    const int64_t apart = (x.taps + 1) * x.d, output = block() * kWarp + lane();
    const bool there = output < (x.dbias.data ? apart : x.taps * x.d);
    Sum all;
    if (there) {
      const auto part = [&](int64_t strip) { return x.sums[strip * apart + output]; };
      int64_t strip = warp();
      for (; strip + (kAhead - 1) * kWarps < x.strips; strip += kAhead * kWarps) {
        float ahead[kAhead];
        FW_UNROLL for (int i = 0; i < kAhead; i++) ahead[i] = part(strip + i * kWarps);
        FW_UNROLL for (int i = 0; i < kAhead; i++) all.add(ahead[i]);
      }
      for (; strip < x.strips; strip += kWarps) all.add(part(strip));
    }
    shared.parts[warp()][lane()] = all;
    barrier();
    if (warp() > 0 || !there) return;
    for (int w = 1; w < kWarps; w++) all.add(shared.parts[w][lane()]);
    const int64_t tap = output / x.d, c = output - tap * x.d;
    if (tap == x.taps) set_element(x.dbias.data, x.dbias.dtype, c, all.total());
    else if (x.dweight.data) set_element(x.dweight.data, x.dweight.dtype, c * x.taps + tap, all.total());
  }
};

inline void add_strips(const Context& cx, const AddStrips::Args& x) {
  const int64_t outputs = (x.dbias.data ? x.taps + 1 : x.taps) * x.d;
  launch<AddStrips>(cx, (outputs + kWarp - 1) / kWarp, x);
}

}  // namespace fw::cuda
