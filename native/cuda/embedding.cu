// Rows of a table by index, and the gradient of the table.
#include "flat.cuh"
#include "indices.cuh"

namespace fw::cuda {

struct Embedding {
  static constexpr int kThreads = kFlatThreads;
  using Args = embeddingArgs;
  struct Shared {};
  static FW_DEVICE void run(const Args& a, Shared&) {
    const auto [row, column] = placeOf(a.d);
    if (row >= a.rows) return;
    const int64_t left = a.d - column, index = a.indices.ints()[row];
    const Run<float> run = inside(index, a.vocabulary) ? loadRun(a.weight, index * a.d + column, left) : Run<float>{};
    storeRun(a.y, row * a.d + column, left, run);
  }
};

void embedding(const Context& cx, const embeddingArgs& a) {
  check_indices(cx, a.indices, a.rows, a.vocabulary);
  launch<Embedding>(cx, flatBlocks(a.d, a.rows), a);
}

// A block owns kOwned rows of the table and kThreads columns, and meets the rows of dy in their order. It takes the
// indices in groups: each warp lists those of its share that fall into the block's range; then every thread adds what
// the lists name to its own column.
struct EmbeddingBackward {
  static constexpr int kThreads = 256, kWarps = kThreads / kWarp, kOwned = 16, kShare = kRun * kWarp;
  using Args = embeddingBackwardArgs;
  struct Shared {
    float sums[kOwned][kThreads];
    struct {
      int32_t row, owned;  // a row of dy, counted from the group's first, and the place of its sums
    } list[kWarps][kShare];
    int32_t count[kWarps];
  };

  static FW_DEVICE void listOwned(const Args& a, Shared& shared, int64_t group, int64_t begin) {
    const int32_t first = warp() * kShare + kRun * lane();
    const int64_t left = a.rows - group - first;
    const Run<int32_t> ids = loadRun(a.indices.ints() + group + first, left);
    const auto owns = [&](int j) { return j < left && ids.at[j] >= begin && ids.at[j] < begin + kOwned; };
    int found = 0;
    FW_UNROLL for (int j = 0; j < kRun; j++) found += owns(j);
    float upto = static_cast<float>(found);  // summed over this lane and those before it
    for (int distance = 1; distance < kWarp; distance *= 2) {
      const float before = shuffle(upto, lane() < distance ? lane() : lane() - distance);
      if (lane() >= distance) upto += before;
    }
    int at = static_cast<int>(upto) - found;
    FW_UNROLL for (int j = 0; j < kRun; j++) {
      if (owns(j)) shared.list[warp()][at++] = {first + j, static_cast<int32_t>(ids.at[j] - begin)};
    }
    if (lane() == kWarp - 1) shared.count[warp()] = at;
  }

  static FW_DEVICE void run(const Args& a, Shared& shared) {
    const Division at = divide(block(), (a.vocabulary + kOwned - 1) / kOwned);
    const int64_t begin = at.rest * kOwned, column = at.quotient * kThreads + thread();
    for (int i = 0; i < kOwned; i++) shared.sums[i][thread()] = 0;
    for (int64_t group = 0; group < a.rows; group += kWarps * kShare) {
      if (group > 0) barrier();  // the lists have been read
      listOwned(a, shared, group, begin);
      barrier();
      if (column >= a.d) continue;
      for (int w = 0; w < kWarps; w++) {
        for (int i = 0; i < shared.count[w]; i++) {
          const auto [row, owned] = shared.list[w][i];
          shared.sums[owned][thread()] += load(a.dy, (group + row) * a.d + column);
        }
      }
    }
    if (column >= a.d) return;
    for (int i = 0; i < kOwned && begin + i < a.vocabulary; i++) {
      store(a.dweight, (begin + i) * a.d + column, shared.sums[i][thread()]);
    }
  }
};

void embeddingBackward(const Context& cx, const embeddingBackwardArgs& a) {
  using Kernel = EmbeddingBackward;
  check_indices(cx, a.indices, a.rows, a.vocabulary);
  const int64_t ranges = (a.vocabulary + Kernel::kOwned - 1) / Kernel::kOwned;
  launch<Kernel>(cx, ranges * ((a.d + Kernel::kThreads - 1) / Kernel::kThreads), a);
}

}  // namespace fw::cuda
