// Runs a sequential family over all heads of all sequences of a call, a block for each of them: its state stays on the
// multiprocessor where it fits, and the sequence inside the kernel.
#pragma once
#include "../sequences.cuh"
#include "engine.cuh"

namespace fw::cuda {

// The width that there is code of its own for, in which all sizes are known: loops are unrolled, and no edge is looked for.
constexpr int64_t kUsualWidth = 64;
template <class Call, class = void>
struct Widths {
  static bool are_usual(const Call& a) { return a.width == kUsualWidth; }
  static FW_WORD void set(Call& a) { a.width = kUsualWidth; }
};
template <class Call>
struct Widths<Call, std::void_t<decltype(Call::outputWidth)>> {
  static bool are_usual(const Call& a) { return a.width == kUsualWidth && a.outputWidth == kUsualWidth; }
  static FW_WORD void set(Call& a) { a.width = a.outputWidth = kUsualWidth; }
};

// Way is Forward or Backward of a family; kNear: states lie in shared memory; blocks: how many a multiprocessor is to run at a
// time.
template <class Way, class Engine, bool kNear, int blocks>
struct Walk {
  static constexpr int kThreads = Engine::kThreads, kAtOnce = blocks;
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
    auto a = args.call;
    if constexpr (Engine::kKnown) Widths<typename Way::Args>::set(a);
    const int64_t track = args.first + block(), n = track / a.heads;
    const Sequences sequences{a.offsets, a.sequences, a.tokens};
    Engine on{shared.memory, args.far + block() * args.far_floats, 0, 0, kNear};
    const typename Way::Layout layout(a);
    typename Way::Memory memory(on, layout);
    Way::run(on, memory, layout, a, Track{n, track % a.heads, a.heads, sequences.start(n), sequences.length(n)});
  }
};

// What a track takes of memory.
template <class Way, class Engine, bool kNear>
Engine counted(const typename Way::Args& a) {
  float anywhere = 0;
  Engine count{&anywhere, &anywhere, 0, 0, kNear};
  typename Way::Memory memory(count, typename Way::Layout(a));
  return count;
}

template <class Way, class Engine, bool kNear, int kBlocks>
void walk_states(const Context& cx, const typename Way::Args& a) {
  using Kernel = Walk<Way, Engine, kNear, kBlocks>;
  const Engine count = counted<Way, Engine, kNear>(a);
  const int64_t shared = count.near_used * 4, bytes = count.far_used * 4, tracks = a.sequences * a.heads;
  if (shared > cx.most_shared) throw Unsupported("a sequential rule on a card: heads as wide as these");
  const int64_t fit = bytes > 0 ? cx.most_scratch / bytes : tracks, round = fit < 1 ? 1 : fit < tracks ? fit : tracks;
  float* const far = bytes > 0 ? cx.scratch_of<float>(round * count.far_used) : nullptr;
  for (int64_t first = 0; first < tracks; first += round) {
    const int64_t blocks = tracks - first < round ? tracks - first : round;
    launch<Kernel, kLargeSharedBytes>(cx, blocks, {a, first, far, count.far_used}, shared);
  }
}

template <template <class> class Way, template <class> class Family, int kBlocks, class Args>
void walk(const Context& cx, const Args& a) {
  using Any = Engine<false>;
  using Known = Engine<true>;
  if (counted<Way<Family<Any>>, Any, true>(a).near_used * 4 > cx.most_shared) {
    walk_states<Way<Family<Any>>, Any, false, 1>(cx, a);
  } else if (Widths<Args>::are_usual(a)) {
    walk_states<Way<Family<Known>>, Known, true, kBlocks>(cx, a);
  } else {
    walk_states<Way<Family<Any>>, Any, true, 1>(cx, a);
  }
}
// kBlocks: as many as shared memory has room for where sizes are known.
template <template <class> class Family, int kBlocks = 1, class Args>
void walk_forward(const Context& cx, const Args& a) {
  walk<Forward, Family, kBlocks>(cx, a);
}
template <template <class> class Family, int kBlocks = 1, class Args>
void walk_backward(const Context& cx, const Args& a) {
  walk<Backward, Family, kBlocks>(cx, a);
}

}  // namespace fw::cuda
