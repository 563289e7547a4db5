// The order of the elements of lines: by words that hold a key above a position, so that no two are the same. Blocks sort
// chunks of a line; then sorted runs are merged, two by two, by the place that each word has in the other run.
#include "flat.cuh"

namespace fw::cuda {

constexpr int kSortThreads = 256, kSortChunk = 2 * kSortThreads;
constexpr uint64_t kBehindAll = ~uint64_t{0};

// Numbers in the order of the elements; equal ones have equal keys, and all NaN the largest.
FW_DEVICE uint32_t keyOf(float x) {
  if (x != x) return ~0u;
  const uint32_t bits = x == 0 ? 0u : toBits(x);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}
FW_DEVICE uint32_t keyOf(int32_t x) { return static_cast<uint32_t>(x) ^ 0x80000000u; }

struct SortChunks {
  static constexpr int kThreads = kSortThreads;
  struct Args {
    In x;
    int64_t n, inner, chunks, first;  // the first line of this round
    bool descending;
    uint64_t* words;  // [lines, n]
  };
  struct Shared {
    uint64_t words[kSortChunk];
  };

  static FW_DEVICE uint64_t wordOf(const Args& a, int64_t line, int64_t i) {
    if (i >= a.n) return kBehindAll;
    const int64_t at = (line / a.inner * a.n + i) * a.inner + line % a.inner;
    const uint32_t key = a.x.dtype == kInt32 ? keyOf(a.x.ints()[at]) : keyOf(load(a.x, at));
    return static_cast<uint64_t>(a.descending ? ~key : key) << 32 | static_cast<uint64_t>(i);
  }

  // Batcher's bitonic network.
  static FW_DEVICE void run(const Args& a, Shared& shared) {
    const int64_t own = block() / a.chunks, from = block() % a.chunks * kSortChunk;
    for (int i = thread(); i < kSortChunk; i += kThreads) shared.words[i] = wordOf(a, a.first + own, from + i);
    for (int size = 2; size <= kSortChunk; size *= 2) {
      for (int stride = size / 2; stride > 0; stride /= 2) {
        barrier();
        const int low = 2 * thread() - (thread() & (stride - 1)), high = low + stride;
        const uint64_t x = shared.words[low], y = shared.words[high];
        if ((x > y) == ((low & size) == 0)) {
          shared.words[low] = y;
          shared.words[high] = x;
        }
      }
    }
    barrier();
    for (int i = thread(); i < kSortChunk; i += kThreads) {
      if (from + i < a.n) a.words[own * a.n + from + i] = shared.words[i];
    }
  }
};

struct MergeRuns {
  static constexpr int kThreads = kFlatThreads;
  struct Args {
    const uint64_t* from;
    uint64_t* to;
    int64_t lines, n, width;
  };
  struct Shared {};
  static FW_DEVICE void run(const Args& a, Shared&) {
    const Division at = divide(flatThread(), a.n);
    if (at.quotient >= a.lines) return;
    const uint64_t* words = a.from + at.quotient * a.n;
    const uint64_t word = words[at.rest];
    const int64_t pair = at.rest / (2 * a.width) * 2 * a.width, middle = pair + a.width;
    const bool left = at.rest < middle;
    // The number of words below this one in the other run, which may be short or missing.
    int64_t low = left ? middle : pair, high = left ? middle + a.width : middle;
    if (low > a.n) low = a.n;
    if (high > a.n) high = a.n;
    const int64_t start = low;
    while (low < high) {
      const int64_t half = (low + high) / 2;
      if (words[half] < word) low = half + 1;
      else high = half;
    }
    a.to[at.quotient * a.n + (left ? at.rest : at.rest - a.width) + (low - start)] = word;
  }
};

struct WritePositions {
  static constexpr int kThreads = kFlatThreads;
  struct Args {
    const uint64_t* words;
    int32_t* y;
    int64_t lines, n, inner, first;
  };
  struct Shared {};
  static FW_DEVICE void run(const Args& a, Shared&) {
    const Division at = divide(flatThread(), a.n);
    if (at.quotient >= a.lines) return;
    const int64_t line = a.first + at.quotient;
    a.y[(line / a.inner * a.n + at.rest) * a.inner + line % a.inner] =
        static_cast<int32_t>(a.words[at.quotient * a.n + at.rest]);
  }
};

void argsort(const Context& cx, const argsortArgs& a) {
  const int64_t lines = a.outer * a.inner;
  if (lines <= 0 || a.n <= 0) return;
  const auto threads = [](int64_t count) { return (count + kFlatThreads - 1) / kFlatThreads; };
  // As many lines at once as scratch memory is there for.
  const int64_t bytes = a.n * 2 * static_cast<int64_t>(sizeof(uint64_t));
  const int64_t fit = cx.most_scratch / bytes, most = fit < 1 ? 1 : fit < lines ? fit : lines;
  const int64_t chunks = (a.n + kSortChunk - 1) / kSortChunk;
  uint64_t* words = cx.scratch_of<uint64_t>(2 * most * a.n);
  for (int64_t first = 0; first < lines; first += most) {
    const int64_t count = lines - first < most ? lines - first : most;
    uint64_t *from = words, *to = words + most * a.n;
    launch<SortChunks>(cx, count * chunks, {a.x, a.n, a.inner, chunks, first, a.descending != 0, from});
    for (int64_t width = kSortChunk; width < a.n; width *= 2) {
      launch<MergeRuns>(cx, threads(count * a.n), {from, to, count, a.n, width});
      uint64_t* const merged = to;
      to = from;
      from = merged;
    }
    launch<WritePositions>(cx, threads(count * a.n), {from, a.y.ints(), count, a.n, a.inner, first});
  }
}

}  // namespace fw::cuda
