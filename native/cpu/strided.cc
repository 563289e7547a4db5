// copy and binary: operands with any strides, walked in runs along the last dimension.
#include <string.h>

#include "../whole.h"
#include "power.h"
#include "trigonometry.h"
#include "walk.h"

FW_NAMESPACE_BEGIN

static constexpr int64_t kGrain = 16384;

// ---- copy ----------------------------------------------------------------------------------------------------------

// Where x runs contiguously along another dimension than y, tiles of kTile x kTile elements keep both in cache.
static constexpr int64_t kTile = 32;

template <class T>
static void transpose(const Context& cx, const T* x, T* y, const Walk<2>& walk, int64_t fast) {
  const int64_t last = walk.rank - 1, rows = walk.shape[fast], columns = walk.shape[last];
  const int64_t x_row = walk.strides[0][fast], y_row = walk.strides[1][fast];
  const int64_t x_column = walk.strides[0][last], y_column = walk.strides[1][last];
  const int64_t row_tiles = (rows + kTile - 1) / kTile, column_tiles = (columns + kTile - 1) / kTile;
  parallel(cx, walk.size() / (rows * columns) * row_tiles, [&](int64_t task) {
    int64_t rest = task / row_tiles, x_at = 0, y_at = 0;
    for (int64_t i = last - 1; i >= 0; i--) {
      if (i == fast) continue;
      x_at += rest % walk.shape[i] * walk.strides[0][i];
      y_at += rest % walk.shape[i] * walk.strides[1][i];
      rest /= walk.shape[i];
    }
    const int64_t row = task % row_tiles * kTile, row_end = row + kTile < rows ? row + kTile : rows;
    for (int64_t tile = 0; tile < column_tiles; tile++) {
      const int64_t column = tile * kTile, column_end = column + kTile < columns ? column + kTile : columns;
      for (int64_t r = row; r < row_end; r++) {
        const T* from = x + x_at + r * x_row;
        T* to = y + y_at + r * y_row;
        for (int64_t c = column; c < column_end; c++) to[c * y_column] = from[c * x_column];
      }
    }
  });
}

template <class T>
static void copy_elements(const Context& cx, const copyArgs& a) {
  const T* x = static_cast<const T*>(a.x.data);
  T* y = static_cast<T*>(a.y.data);
  const Walk<2> walk(a.shape, {&a.xStrides, &a.yStrides});
  const int64_t last = walk.rank - 1, x_step = walk.strides[0][last], y_step = walk.strides[1][last];
  const int64_t n = walk.size();
  if (n == 0) return;
  if (x_step > 1) {
    for (int64_t i = last - 1; i >= 0; i--) {
      if (walk.strides[0][i] == 1) return transpose(cx, x, y, walk, i);
    }
  }
  parallel_blocks(cx, n, 2 * kGrain, [&](int64_t begin, int64_t end) {
    walk.rows(begin, end, [&](const int64_t* offset, int64_t length) {
      const T* from = x + offset[0];
      T* to = y + offset[1];
      if (x_step == 1 && y_step == 1) {
        if (length >= 64) memcpy(to, from, length * sizeof(T));
        else for (int64_t i = 0; i < length; i++) to[i] = from[i];
      } else {
        for (int64_t i = 0; i < length; i++) to[i * y_step] = from[i * x_step];
      }
    });
  });
}

void copy(const Context& cx, const copyArgs& a) {
  switch (a.bytes) {
    case 1: return copy_elements<uint8_t>(cx, a);
    case 2: return copy_elements<uint16_t>(cx, a);
    case 4: return copy_elements<uint32_t>(cx, a);
    default: return cx.fail("copy: unknown size of elements");
  }
}

// ---- binary --------------------------------------------------------------------------------------------------------

typedef int32_t VecIntUnaligned __attribute__((vector_size(kLanes * 4), aligned(4)));

// The lanes of one element type.
struct Floats {
  typedef float Element;
  typedef Vec Lanes;
  FW_INLINE Vec read(const float* p, int64_t n) { return load_first(p, n); }
  FW_INLINE void write(float* p, Vec x, int64_t n) { store_first(p, x, n); }
  FW_INLINE Vec arithmetic(Vec x) { return x; }
  FW_INLINE Vec power(Vec x, Vec exponent) { return vpow(x, exponent); }
  FW_INLINE Vec all(float x) { return splat(x); }
  FW_INLINE Vec choose(VecInt mask, Vec a, Vec b) { return select(mask, a, b); }
};
typedef uint32_t VecWrapped __attribute__((vector_size(kLanes * 4)));

struct Ints {
  typedef int32_t Element;
  typedef VecInt Lanes;
  FW_INLINE VecInt read(const int32_t* p, int64_t n) {
    if (n >= kLanes) return *reinterpret_cast<const VecIntUnaligned*>(p);
    VecInt x{};
    for (int64_t i = 0; i < n; i++) x[i] = p[i];
    return x;
  }
  FW_INLINE void write(int32_t* p, VecInt x, int64_t n) {
    if (n >= kLanes) *reinterpret_cast<VecIntUnaligned*>(p) = x;
    else for (int64_t i = 0; i < n; i++) p[i] = x[i];
  }
  // Unsigned numbers wrap.
  FW_INLINE VecWrapped arithmetic(VecInt x) { return reinterpret_cast<VecWrapped>(x); }
  FW_INLINE VecInt power(VecInt x, VecInt exponent) {
    for (int i = 0; i < kLanes; i++) x[i] = wholePower(x[i], exponent[i]);
    return x;
  }
  FW_INLINE VecInt all(int32_t x) { return x - VecInt{}; }
  FW_INLINE VecInt choose(VecInt mask, VecInt a, VecInt b) { return (a & mask) | (b & ~mask); }
};

template <class T, int op>
FW_INLINE typename T::Lanes combine(typename T::Lanes a, typename T::Lanes b) {
  typedef typename T::Lanes Lanes;
  if constexpr (op == kAdd) return Lanes(T::arithmetic(a) + T::arithmetic(b));
  if constexpr (op == kSub) return Lanes(T::arithmetic(a) - T::arithmetic(b));
  if constexpr (op == kMul) return Lanes(T::arithmetic(a) * T::arithmetic(b));
  if constexpr (op == kDiv) return a / b;
  if constexpr (op == kPow) return T::power(a, b);
  if constexpr (op == kAtan2) return vatan2(a, b);
  if constexpr (op == kFloorDivide || op == kRemainder) {
    for (int i = 0; i < kLanes; i++) {
      if constexpr (op == kFloorDivide) a[i] = floorQuotient(a[i], b[i]);
      if constexpr (op == kRemainder) a[i] = floorRemainder(a[i], b[i]);
    }
    return a;
  }
  // NaN where either operand is.
  if constexpr (op == kMaximum) return T::choose((a > b) | (a != a), a, b);
  if constexpr (op == kMinimum) return T::choose((a < b) | (a != a), a, b);
}

// The next lanes of an operand in a run: contiguous, one number repeated, or gathered.
template <class T>
FW_INLINE typename T::Lanes operand(const typename T::Element* p, int64_t step, int64_t at, int64_t left) {
  if (step == 1) return T::read(p + at, left);
  if (step == 0) return T::all(*p);
  typename T::Lanes x{};
  for (int64_t i = 0; i < kLanes && i < left; i++) x[i] = p[(at + i) * step];
  return x;
}

template <class T, int op>
static void combine_all(const Context& cx, const binaryArgs& args) {
  typedef typename T::Element Element;
  const Element *a = static_cast<const Element*>(args.a.data), *b = static_cast<const Element*>(args.b.data);
  Element* y = static_cast<Element*>(args.y.data);
  const Dims y_strides = row_major(args.shape);
  const Walk<3> walk(args.shape, {&args.aStrides, &args.bStrides, &y_strides});
  const int64_t n = walk.size();
  if (n == 0) return;
  const int64_t a_step = walk.strides[0][walk.rank - 1], b_step = walk.strides[1][walk.rank - 1];
  parallel_blocks(cx, n, kGrain, [&](int64_t begin, int64_t end) {
    walk.rows(begin, end, [&](const int64_t* offset, int64_t length) {
      const Element *x1 = a + offset[0], *x2 = b + offset[1];
      Element* out = y + offset[2];
      const auto run = [&](int64_t step1, int64_t step2) __attribute__((always_inline)) {
        for (int64_t i = 0; i < length; i += kLanes) {
          const int64_t left = length - i;
          T::write(out + i, combine<T, op>(operand<T>(x1, step1, i, left), operand<T>(x2, step2, i, left)), left);
        }
      };
      if (a_step == 1 && b_step == 1) run(1, 1);
      else if (a_step == 1 && b_step == 0) run(1, 0);
      else if (a_step == 0 && b_step == 1) run(0, 1);
      else run(a_step, b_step);
    });
  });
}

void binary(const Context& cx, const binaryArgs& a) {
#define FW_CASE(T, op) case op: return combine_all<T, op>(cx, a);
  if (a.dtype == kInt32) {
    switch (a.op) {
      FW_CASE(Ints, kAdd) FW_CASE(Ints, kSub) FW_CASE(Ints, kMul) FW_CASE(Ints, kMaximum) FW_CASE(Ints, kMinimum)
      FW_CASE(Ints, kPow) FW_CASE(Ints, kFloorDivide) FW_CASE(Ints, kRemainder)
      default: return cx.fail("binary: unknown operation of int32");
    }
  } else {
    switch (a.op) {
      FW_CASE(Floats, kAdd) FW_CASE(Floats, kSub) FW_CASE(Floats, kMul) FW_CASE(Floats, kDiv) FW_CASE(Floats, kPow)
      FW_CASE(Floats, kMaximum) FW_CASE(Floats, kMinimum) FW_CASE(Floats, kFloorDivide) FW_CASE(Floats, kRemainder)
      FW_CASE(Floats, kAtan2)
      default: return cx.fail("binary: unknown operation");
    }
  }
#undef FW_CASE
}

FW_NAMESPACE_END
