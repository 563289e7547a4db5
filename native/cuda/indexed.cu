// Elements taken, or added to, where indices say.
#include "../whole.h"
#include "indices.cuh"
#include "walk.cuh"

namespace fw::cuda {

template <class T>
struct Gather {
  static constexpr int kThreads = kFlatThreads;
  struct Args {
    const T* x;
    const int32_t* index;
    T* y;
    Walk<2> walk;
    int64_t step, limit;
  };
  struct Shared {};
  static FW_DEVICE void run(const Args& args, Shared&) {
    const Walk<2>& walk = args.walk;
    const auto [row, column] = placeOf(walk.width);
    if (row >= walk.rows) return;
    const Offsets<2> first = rowOf(walk, row);
    const int64_t left = walk.width - column, x_step = walk.step(0), index_step = walk.step(1);
    const Run<int32_t> index = loadRun(args.index + first.of[1] + column * index_step, left, index_step);
    Run<T> y{};
    FW_UNROLL for (int j = 0; j < kRun; j++) {
      if (j < left && inside(index.at[j], args.limit)) {
        y.at[j] = args.x[first.of[0] + (column + j) * x_step + index.at[j] * args.step];
      }
    }
    storeRun(args.y + row * walk.width + column, left, y);
  }
};

template <class T>
static void gatherElements(const Context& cx, const gatherArgs& a) {
  const Walk<2> walk = walkOf<2>(a.shape, {&a.xStrides, &a.indexStrides});
  launch<Gather<T>>(cx, flatBlocks(walk.width, walk.rows),
                    {static_cast<const T*>(a.x.data), a.index.ints(), static_cast<T*>(a.y.data), walk, a.step, a.limit});
}

void gather(const Context& cx, const gatherArgs& a) {
  check_indices(cx, a.index, a.index.size, a.limit);
  switch (a.bytes) {
    case 1: return gatherElements<uint8_t>(cx, a);
    case 2: return gatherElements<uint16_t>(cx, a);
    case 4: return gatherElements<uint32_t>(cx, a);
    default: unknown("gather", "number of bytes", a.bytes);
  }
}

// A thread owns a line (all indices but the last) and a range of the places that its indices lead to, and meets the
// elements in their order; where lines are few, many threads read the same indices. Neighbouring threads have
// neighbouring lines.
template <class T>
struct ScatterAdd {
  static constexpr int kThreads = kFlatThreads;
  struct Args {
    const T* x;
    const int32_t* index;
    T* y;
    Walk<3> lines;
    int64_t count, ranges, range, limit;
    int64_t n, x_step, index_step, step;
  };
  struct Shared {};

  static FW_DEVICE float added(float a, float b) { return a + b; }
  static FW_DEVICE int32_t added(int32_t a, int32_t b) { return wrappedSum(a, b); }

  static FW_DEVICE void run(const Args& args, Shared&) {
    const Division own = divide(flatThread(), args.count);
    if (own.quotient >= args.ranges) return;
    const Division line = divide(own.rest, args.lines.width);
    const Offsets<3> first = rowOf(args.lines, line.quotient);
    const auto place = [&](int operand) { return first.of[operand] + line.rest * args.lines.step(operand); };
    const T* x = args.x + place(0);
    const int32_t* index = args.index + place(1);
    T* y = args.y + place(2);
    const int64_t least = own.quotient * args.range;
    for (int64_t i = 0; i < args.n; i++) {
      const int64_t at = index[i * args.index_step];
      if (at < least || at >= least + args.range || !inside(at, args.limit)) continue;
      y[at * args.step] = added(y[at * args.step], x[i * args.x_step]);
    }
  }
};

// Threads that a card has work for.
constexpr int64_t kBusy = 1 << 16;

template <class T>
static void scatterElements(const Context& cx, const scatterAddArgs& a) {
  const int64_t last = a.shape.rank - 1;
  Dims outer = a.shape;
  outer.rank = last;
  const Walk<3> lines = walkOf<3>(outer, {&a.xStrides, &a.indexStrides, &a.yStrides});
  const int64_t count = lines.rows * lines.width;
  if (count <= 0 || a.limit <= 0) return;
  const int64_t most = count < kBusy ? (kBusy + count - 1) / count : 1;
  const int64_t range = (a.limit + most - 1) / most, ranges = (a.limit + range - 1) / range;
  launch<ScatterAdd<T>>(cx, (count * ranges + kFlatThreads - 1) / kFlatThreads,
                        {static_cast<const T*>(a.x.data), a.index.ints(), static_cast<T*>(a.y.data), lines, count, ranges,
                         range, a.limit, a.shape[last], a.xStrides[last], a.indexStrides[last], a.step});
}

void scatterAdd(const Context& cx, const scatterAddArgs& a) {
  check_indices(cx, a.index, a.index.size, a.limit);
  switch (a.y.dtype) {
    case kFloat32: return scatterElements<float>(cx, a);
    case kInt32: return scatterElements<int32_t>(cx, a);
    default: unknown("scatterAdd", "dtype", a.y.dtype);
  }
}

}  // namespace fw::cuda
