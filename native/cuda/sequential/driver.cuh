// Runs a sequential family over all heads of all sequences of a call, a block for each of them: its state stays on the
// multiprocessor where it fits, and the sequence inside the kernel.
#pragma once
#include "../sequences.cuh"
#include "engine.cuh"

namespace fw::cuda {

// Way is Forward or Backward of a family; kNear: states lie in shared memory.
template <class Way, class Layout, bool kNear>
struct Walk {
  static constexpr int kThreads = Engine::kThreads;
  struct Args {
    typename Way::Args call;
    int64_t first;  // track of the first block
    float* far;
    int64_t far_floats;
  };
  struct Shared {
    float memory[1];
  };
  static constexpr int64_t most_shared() { return kLargeSharedBytes; }

  static FW_DEVICE void run(const Args& args, Shared& shared) {
    const auto& a = args.call;
    const int64_t track = args.first + block(), n = track / a.heads;
    const Sequences sequences{a.offsets, a.sequences, a.tokens};
    Engine on{shared.memory, args.far + block() * args.far_floats, 0, 0, kNear};
    const Layout layout(a);
    typename Way::Memory memory(on, layout);
    Way::run(on, memory, layout, a, Track{n, track % a.heads, a.heads, sequences.start(n), sequences.length(n)});
  }
};

template <class Way, class Layout, bool kNear>
void walk_states(const Context& cx, const typename Way::Args& a, const Engine& count) {
  using Kernel = Walk<Way, Layout, kNear>;
  const int64_t shared = count.near_used * 4, bytes = count.far_used * 4, tracks = a.sequences * a.heads;
  if (shared > cx.most_shared) throw Unsupported("a sequential rule on a card: heads as wide as these");
  const int64_t fit = bytes > 0 ? cx.most_scratch / bytes : tracks, round = fit < 1 ? 1 : fit < tracks ? fit : tracks;
  float* const far = bytes > 0 ? cx.scratch_of<float>(round * count.far_used) : nullptr;
  for (int64_t first = 0; first < tracks; first += round) {
    const int64_t blocks = tracks - first < round ? tracks - first : round;
    launch<Kernel, kLargeSharedBytes>(cx, blocks, {a, first, far, count.far_used}, shared);
  }
}

template <class Way, class Layout>
void walk(const Context& cx, const typename Way::Args& a, const Layout& layout) {
  const auto counted = [&](bool near) {
    Engine count{nullptr, nullptr, 0, 0, near};
    typename Way::Memory memory(count, layout);
    return count;
  };
  const Engine near = counted(true);
  if (near.near_used * 4 <= cx.most_shared) walk_states<Way, Layout, true>(cx, a, near);
  else walk_states<Way, Layout, false>(cx, a, counted(false));
}
template <class Family>
void walk_forward(const Context& cx, const typename Family::Args& a) {
  walk<Forward<Family>>(cx, a, typename Family::Layout(a));
}
template <class Family>
void walk_backward(const Context& cx, const typename Family::BackwardArgs& a) {
  walk<Backward<Family>>(cx, a, typename Family::Layout(a));
}

}  // namespace fw::cuda
