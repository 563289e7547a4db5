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

// One operand for a whole run.
template <class T>
static void take_run(T* y, const T* x, int64_t step, int64_t length) {
  by_steps(step, 1, [&](int64_t x_step, int64_t y_step) __attribute__((always_inline)) {
    for (int64_t i = 0; i < length; i++) y[i * y_step] = x[i * x_step];
  });
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
      // Both operands are read where they are not chosen, too: then the choice is one between vectors.
      const auto choose_run = [&](int64_t step1, int64_t step2) __attribute__((always_inline)) {
        for (int64_t i = 0; i < length; i++) {
          const T taken = x1[i * step1], other = x2[i * step2];
          out[i] = first[i] ? taken : other;
        }
      };
      const int64_t step1 = walk.step(1), step2 = walk.step(2);
      if (step == 1 && step1 == 0 && step2 == 0) choose_run(0, 0);
      else if (step == 1) by_steps(step1, step2, choose_run);
      else if (step == 0 && first[0]) take_run(out, x1, step1, length);
      else if (step == 0) take_run(out, x2, step2, length);
      else for (int64_t i = 0; i < length; i++) out[i] = first[i * step] ? x1[i * step1] : x2[i * step2];
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
