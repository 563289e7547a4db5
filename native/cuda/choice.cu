// Comparisons, which give bytes of 0 and 1, and the choice between two operands by such bytes.
#include "walk.cuh"

namespace fw::cuda {

template <class T>
FW_DEVICE bool holds(int64_t op, T a, T b) {
  switch (op) {
    case kEq: return a == b;
    case kNe: return a != b;
    case kLt: return a < b;
    case kLe: return a <= b;
    case kGt: return a > b;
    case kGe: return a >= b;
    default: trap(); return false;
  }
}

struct Compare {
  static constexpr int kThreads = kFlatThreads;
  struct Args {
    In a, b;
    Bool* y;
    Walk<2> walk;
    int64_t op;
  };
  struct Shared {};

  template <class T>
  static FW_DEVICE void store(const Args& args, int64_t at, int64_t left, const Run<T>& a, const Run<T>& b) {
    Run<Bool> y;
    FW_UNROLL for (int j = 0; j < kRun; j++) y.at[j] = holds(args.op, a.at[j], b.at[j]);
    storeRun(args.y + at, left, y);
  }

  static FW_DEVICE void run(const Args& args, Shared&) {
    const Walk<2>& walk = args.walk;
    const auto [row, column] = placeOf(walk.width);
    if (row >= walk.rows) return;
    const Offsets<2> first = rowOf(walk, row);
    const int64_t left = walk.width - column, a_step = walk.step(0), b_step = walk.step(1),
                  a_at = first.of[0] + column * a_step, b_at = first.of[1] + column * b_step,
                  at = row * walk.width + column;
    switch (args.a.dtype) {
      case kInt32:
        return store(args, at, left, loadRun(args.a.ints() + a_at, left, a_step),
                     loadRun(args.b.ints() + b_at, left, b_step));
      case kBool:
        return store(args, at, left, loadRun(args.a.bools() + a_at, left, a_step),
                     loadRun(args.b.bools() + b_at, left, b_step));
      default:
        return store(args, at, left, loadRun(args.a, a_at, left, a_step), loadRun(args.b, b_at, left, b_step));
    }
  }
};

void compare(const Context& cx, const compareArgs& a) {
  require_known("compare", "operation", a.op, kGe + 1);
  const Walk<2> walk = walkOf<2>(a.shape, {&a.aStrides, &a.bStrides});
  launch<Compare>(cx, flatBlocks(walk.width, walk.rows), {a.a, a.b, a.y.bools(), walk, a.op});
}

template <class T>
struct Where {
  static constexpr int kThreads = kFlatThreads;
  struct Args {
    const Bool* condition;
    const T *a, *b;
    T* y;
    Walk<3> walk;
  };
  struct Shared {};
  static FW_DEVICE void run(const Args& args, Shared&) {
    const Walk<3>& walk = args.walk;
    const auto [row, column] = placeOf(walk.width);
    if (row >= walk.rows) return;
    const Offsets<3> first = rowOf(walk, row);
    const int64_t left = walk.width - column;
    const auto place = [&](int operand) { return first.of[operand] + column * walk.step(operand); };
    const Run<Bool> condition = loadRun(args.condition + place(0), left, walk.step(0));
    Run<T> a = loadRun(args.a + place(1), left, walk.step(1));
    const Run<T> b = loadRun(args.b + place(2), left, walk.step(2));
    FW_UNROLL for (int j = 0; j < kRun; j++) {
      if (!condition.at[j]) a.at[j] = b.at[j];
    }
    storeRun(args.y + row * walk.width + column, left, a);
  }
};

template <class T>
static void choose(const Context& cx, const whereArgs& a) {
  const Walk<3> walk = walkOf<3>(a.shape, {&a.conditionStrides, &a.aStrides, &a.bStrides});
  launch<Where<T>>(cx, flatBlocks(walk.width, walk.rows),
                   {a.condition.bools(), static_cast<const T*>(a.a.data), static_cast<const T*>(a.b.data),
                    static_cast<T*>(a.y.data), walk});
}

void where(const Context& cx, const whereArgs& a) {
  switch (a.bytes) {
    case 1: return choose<uint8_t>(cx, a);
    case 2: return choose<uint16_t>(cx, a);
    case 4: return choose<uint32_t>(cx, a);
    default: unknown("where", "number of bytes", a.bytes);
  }
}

}  // namespace fw::cuda
