// Comparisons, which give bytes of 0 and 1, and the choice between two operands by such bytes.
#include "walk.h"

FW_NAMESPACE_BEGIN

static constexpr int64_t kGrain = 16384;

// Runs of the steps that occur most are loops of their own, which the compiler turns into vectors.
template <class Body>
FW_INLINE void by_steps(int64_t a_step, int64_t b_step, const Body& body) {
  if (a_step == 1 && b_step == 1) body(1, 1);
  else if (a_step == 1 && b_step == 0) body(1, 0);
  else if (a_step == 0 && b_step == 1) body(0, 1);
  else body(a_step, b_step);
}

template <int op, class T>
FW_INLINE Bool holds(T a, T b) {
  if constexpr (op == kEq) return a == b;
  if constexpr (op == kNe) return a != b;
  if constexpr (op == kLt) return a < b;
  if constexpr (op == kLe) return a <= b;
  if constexpr (op == kGt) return a > b;
  if constexpr (op == kGe) return a >= b;
}

template <int op, class T>
static void compare_all(const Context& cx, const compareArgs& args) {
  const T *a = static_cast<const T*>(args.a.data), *b = static_cast<const T*>(args.b.data);
  Bool* y = args.y.bools();
  const Dims y_strides = row_major(args.shape);
  const Walk<3> walk(args.shape, {&args.aStrides, &args.bStrides, &y_strides});
  parallel_blocks(cx, walk.size(), kGrain, [&](int64_t begin, int64_t end) {
    walk.rows(begin, end, [&](const int64_t* offset, int64_t length) {
      const T *x1 = a + offset[0], *x2 = b + offset[1];
      Bool* out = y + offset[2];
      by_steps(walk.step(0), walk.step(1), [&](int64_t step1, int64_t step2) __attribute__((always_inline)) {
        for (int64_t i = 0; i < length; i++) out[i] = holds<op>(x1[i * step1], x2[i * step2]);
      });
    });
  });
}

template <class T>
static void compare_as(const Context& cx, const compareArgs& a) {
  switch (a.op) {
    case kEq: return compare_all<kEq, T>(cx, a);
    case kNe: return compare_all<kNe, T>(cx, a);
    case kLt: return compare_all<kLt, T>(cx, a);
    case kLe: return compare_all<kLe, T>(cx, a);
    case kGt: return compare_all<kGt, T>(cx, a);
    case kGe: return compare_all<kGe, T>(cx, a);
    default: return cx.fail("compare: unknown operation");
  }
}

void compare(const Context& cx, const compareArgs& a) {
  switch (a.dtype) {
    case kFloat32: return compare_as<float>(cx, a);
    case kInt32: return compare_as<int32_t>(cx, a);
    case kBool: return compare_as<Bool>(cx, a);
    default: return cx.fail("compare: unknown dtype");
  }
}

template <class T>
static void choose(const Context& cx, const whereArgs& args) {
  const T *a = static_cast<const T*>(args.a.data), *b = static_cast<const T*>(args.b.data);
  const Bool* condition = args.condition.bools();
  T* y = static_cast<T*>(args.y.data);
  const Dims y_strides = row_major(args.shape);
  const Walk<4> walk(args.shape, {&args.conditionStrides, &args.aStrides, &args.bStrides, &y_strides});
  const int64_t step = walk.step(0);
  parallel_blocks(cx, walk.size(), kGrain, [&](int64_t begin, int64_t end) {
    walk.rows(begin, end, [&](const int64_t* offset, int64_t length) {
      const Bool* first = condition + offset[0];
      const T *x1 = a + offset[1], *x2 = b + offset[2];
      T* out = y + offset[3];
      by_steps(walk.step(1), walk.step(2), [&](int64_t step1, int64_t step2) __attribute__((always_inline)) {
        for (int64_t i = 0; i < length; i++) out[i] = first[i * step] ? x1[i * step1] : x2[i * step2];
      });
    });
  });
}

void where(const Context& cx, const whereArgs& a) {
  switch (a.bytes) {
    case 1: return choose<uint8_t>(cx, a);
    case 2: return choose<uint16_t>(cx, a);
    case 4: return choose<uint32_t>(cx, a);
    default: return cx.fail("where: unknown size of elements");
  }
}

FW_NAMESPACE_END
