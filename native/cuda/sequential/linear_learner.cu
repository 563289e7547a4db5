// A matrix that learns at test time; its equations stand in native/families. A block of threads for each head of a sequence.
#include "matrices.cuh"
#include "../../families/linearLearner.h"

namespace fw::cuda {

template <class Way>
struct WalkChunks {
  static constexpr int kThreads = Matrices::kThreads;
  struct Args {
    typename Way::Args call;
    int64_t first;  // track of the first block
    float* memory;
    int64_t floats;
  };

  struct Shared {};

  static FW_DEVICE void run(const Args& args, Shared&) {
    const auto& a = args.call;
    const int64_t track = args.first + block(), n = track / a.heads;
    const typename LinearLearner<Matrices>::Layout layout(a);
    Matrices on{args.memory + block() * args.floats, 0};
    typename Way::Memory memory(on, layout);
    Way::run(on, memory, layout, a, Track{n, track % a.heads, a.heads, n * a.tokens, a.tokens});
  }
};

template <class Way>
void walk_chunks(const Context& cx, const typename Way::Args& a) {
  Matrices count{nullptr, 0};
  typename Way::Memory counted(count, typename LinearLearner<Matrices>::Layout(a));
  const int64_t tracks = a.sequences * a.heads, fit = cx.most_scratch / (count.used * 4 + 1);
  const int64_t round = fit < 1 ? 1 : fit < tracks ? fit : tracks;
  float* const memory = cx.scratch_of<float>(round * count.used);
  for (int64_t first = 0; first < tracks; first += round) {
    launch<WalkChunks<Way>>(cx, tracks - first < round ? tracks - first : round, {a, first, memory, count.used});
  }
}

void linearLearner(const Context& cx, const linearLearnerArgs& a) { walk_chunks<Forward<LinearLearner<Matrices>>>(cx, a); }
void linearLearnerBackward(const Context& cx, const linearLearnerBackwardArgs& a) {
  walk_chunks<Backward<LinearLearner<Matrices>>>(cx, a);
}

}  // namespace fw::cuda
