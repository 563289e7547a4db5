// The search for the first index outside a table: one block, since it is over before the rows are copied.
#include "indices.cuh"

#include "team.cuh"

namespace fw::cuda {
namespace {

// The place of an index in two halves that a float holds exactly, for shuffles; infinite where there is none.
struct Position {
  float high = INFINITY, low = 0;
};
FW_DEVICE Position shuffleXor(const Position& x, int mask) {
  return {fw::cuda::shuffleXor(x.high, mask), fw::cuda::shuffleXor(x.low, mask)};
}
struct Earlier {
  FW_DEVICE Position operator()(const Position& a, const Position& b) const {
    return b.high < a.high || (b.high == a.high && b.low < a.low) ? b : a;
  }
};

struct CheckIndices {
  static constexpr int kThreads = kLineThreads, kHalf = 24;
  struct Args {
    const int32_t* indices;
    int64_t count, limit, ignored;
    bool ignores;
    IndexFault* fault;
  };
  struct Shared {
    Position first[kLineWarps];
  };

  static FW_DEVICE void run(const Args& a, Shared& shared) {
    Position own;
    for (int64_t i = thread(); i < a.count; i += kThreads) {
      const int32_t index = a.indices[i];
      if (inside(index, a.limit) || (a.ignores && index == a.ignored)) continue;
      own = {static_cast<float>(i >> kHalf), static_cast<float>(i & ((1 << kHalf) - 1))};
      break;
    }
    const Position first = gather<kLineThreads>(own, shared.first, Earlier{});
    if (thread() != 0 || first.high == INFINITY) return;
    const int64_t at = (static_cast<int64_t>(first.high) << kHalf) + static_cast<int64_t>(first.low);
    *a.fault = {1, at, a.indices[at], a.limit};
  }
};

}  // namespace

void check_indices(const Context& cx, const In& indices, int64_t count, int64_t limit, int64_t ignored, bool ignores) {
  if (!cx.fault || count <= 0) return;
  launch<CheckIndices>(cx, 1, {indices.ints(), count, limit, ignored, ignores, cx.fault});
}

}  // namespace fw::cuda
