// copy and binary: operands with any strides, walked in runs along the last dimension.
#include "../whole.h"
#include "walk.cuh"

namespace fw::cuda {

// ---- copy ----------------------------------------------------------------------------------------------------------

template <class T>
struct Copy {
  static constexpr int kThreads = kFlatThreads;
  struct Args {
    const T* x;
    T* y;
    Walk<2> walk;
  };
  struct Shared {};
  static FW_DEVICE void run(const Args& args, Shared&) {
    const Walk<2>& walk = args.walk;
    const auto [row, column] = placeOf(walk.width);
    if (row >= walk.rows) return;
    const Offsets<2> at = rowOf(walk, row);
    const int64_t left = walk.width - column, x_step = walk.strides[0][walk.rank - 1],
                  y_step = walk.strides[1][walk.rank - 1];
    storeRun(args.y + at.of[1] + column * y_step, left, loadRun(args.x + at.of[0] + column * x_step, left, x_step), y_step);
  }
};

// Where x runs contiguously along another dimension, `fast`, than y: a block reads a tile along the one and writes it
// along the other. The walk is over the remaining dimensions, its last one of a single element.
constexpr int kTile = 32;

template <class T>
struct Transpose {
  static constexpr int kThreads = 256;
  struct Args {
    const T* x;
    T* y;
    Walk<2> walk;
    int64_t rows, columns;  // of the dimension `fast`, and the last
    int64_t x_column, y_row, y_column;
  };
  struct Shared {
    T tile[kTile][kTile + 1];  // a column more than a tile: reading downwards meets every bank
  };
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    const Division down = divide(block(), (args.rows + kTile - 1) / kTile);
    const Division across = divide(down.quotient, (args.columns + kTile - 1) / kTile);
    const Offsets<2> at = rowOf(args.walk, across.quotient);
    const int64_t row = down.rest * kTile, column = across.rest * kTile;
    for (int i = warp(); i < kTile; i += kThreads / kWarp) {
      if (row + lane() < args.rows && column + i < args.columns) {
        shared.tile[i][lane()] = args.x[at.of[0] + row + lane() + (column + i) * args.x_column];
      }
    }
    barrier();
    for (int i = warp(); i < kTile; i += kThreads / kWarp) {
      if (row + i < args.rows && column + lane() < args.columns) {
        args.y[at.of[1] + (row + i) * args.y_row + (column + lane()) * args.y_column] = shared.tile[lane()][i];
      }
    }
  }
};

template <class T>
static void copyElements(const Context& cx, const copyArgs& a) {
  const T* x = static_cast<const T*>(a.x.data);
  T* y = static_cast<T*>(a.y.data);
  const Walk<2> walk = walkOf<2>(a.shape, {&a.xStrides, &a.yStrides});
  const int64_t last = walk.rank - 1;
  int64_t fast = last;
  if (walk.strides[0][last] > 1) {
    for (int64_t i = 0; i < last; i++) {
      if (walk.strides[0][i] == 1) fast = i;
    }
  }
  if (fast == last) return launch<Copy<T>>(cx, flatBlocks(walk.width, walk.rows), {x, y, walk});
  const int64_t rows = walk.shape[fast], columns = walk.width;
  Walk<2> others = walk;
  others.shape[fast] = others.width = 1;
  others.rows = rows > 0 ? walk.rows / rows : 0;
  launch<Transpose<T>>(cx, others.rows * ((rows + kTile - 1) / kTile) * ((columns + kTile - 1) / kTile),
                       {x, y, others, rows, columns, walk.strides[0][last], walk.strides[1][fast],
                        walk.strides[1][last]});
}

void copy(const Context& cx, const copyArgs& a) {
  switch (a.bytes) {
    case 1: return copyElements<uint8_t>(cx, a);
    case 2: return copyElements<uint16_t>(cx, a);
    case 4: return copyElements<uint32_t>(cx, a);
    default: unknown("copy", "number of bytes", a.bytes);
  }
}

// ---- binary --------------------------------------------------------------------------------------------------------

template <class T, class F>
FW_DEVICE void combineEach(Run<T>& x, const Run<T>& y, const F& f) {
  FW_UNROLL for (int j = 0; j < kRun; j++) x.at[j] = static_cast<T>(f(x.at[j], y.at[j]));
}

// What both element types have.
template <class T>
FW_DEVICE void combineCommon(int64_t op, Run<T>& x, const Run<T>& y) {
  switch (op) {
    case kFloorDivide: return combineEach(x, y, [](T a, T b) { return floorQuotient(a, b); });
    case kRemainder: return combineEach(x, y, [](T a, T b) { return floorRemainder(a, b); });
    // NaN where either operand is.
    case kMaximum: return combineEach(x, y, [](T a, T b) { return a > b || a != a ? a : b; });
    case kMinimum: return combineEach(x, y, [](T a, T b) { return a < b || a != a ? a : b; });
    default: trap();
  }
}
FW_DEVICE void combine(int64_t op, Run<int32_t>& x, const Run<int32_t>& y) {
  switch (op) {
    case kAdd: return combineEach(x, y, wrappedSum);
    case kSub: return combineEach(x, y, wrappedDifference);
    case kMul: return combineEach(x, y, wrappedProduct);
    case kPow: return combineEach(x, y, wholePower);
    default: return combineCommon(op, x, y);
  }
}
FW_DEVICE void combine(int64_t op, Run<float>& x, const Run<float>& y) {
  switch (op) {
    case kAdd: return combineEach(x, y, [](float a, float b) { return a + b; });
    case kSub: return combineEach(x, y, [](float a, float b) { return a - b; });
    case kMul: return combineEach(x, y, [](float a, float b) { return a * b; });
    case kDiv: return combineEach(x, y, [](float a, float b) { return a / b; });
    case kPow: return combineEach(x, y, [](float a, float b) { return powf(a, b); });
    case kAtan2: return combineEach(x, y, [](float a, float b) { return atan2f(a, b); });
    default: return combineCommon(op, x, y);
  }
}

struct Binary {
  static constexpr int kThreads = kFlatThreads;
  struct Args {
    In a, b;
    Out y;
    Walk<2> walk;
    int64_t op;
  };
  struct Shared {};
  static FW_DEVICE void run(const Args& args, Shared&) {
    const Walk<2>& walk = args.walk;
    const auto [row, column] = placeOf(walk.width);
    if (row >= walk.rows) return;
    const Offsets<2> first = rowOf(walk, row);
    const int64_t left = walk.width - column, a_step = walk.strides[0][walk.rank - 1],
                  b_step = walk.strides[1][walk.rank - 1], a_at = first.of[0] + column * a_step,
                  b_at = first.of[1] + column * b_step, at = row * walk.width + column;
    if (args.y.dtype == kInt32) {
      Run<int32_t> x = loadRun(args.a.ints() + a_at, left, a_step);
      combine(args.op, x, loadRun(args.b.ints() + b_at, left, b_step));
      storeRun(args.y.ints() + at, left, x);
    } else {
      Run<float> x = loadRun(args.a, a_at, left, a_step);
      combine(args.op, x, loadRun(args.b, b_at, left, b_step));
      storeRun(args.y, at, left, x);
    }
  }
};

void binary(const Context& cx, const binaryArgs& a) {
  require_known("binary", "operation", a.op, kAtan2 + 1);
  if (a.y.dtype == kInt32 && (a.op == kDiv || a.op == kAtan2)) unknown("binary of int32", "operation", a.op);
  for (const In& x : {a.a, a.b}) require_alike("binary", x.dtype, a.y.dtype);
  const Walk<2> walk = walkOf<2>(a.shape, {&a.aStrides, &a.bStrides});
  launch<Binary>(cx, flatBlocks(walk.width, walk.rows), {a.a, a.b, a.y, walk, a.op});
}

}  // namespace fw::cuda
