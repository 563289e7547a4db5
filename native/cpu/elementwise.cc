// fill, cast, unary functions and their derivatives. binary and copy, which walk strides, stand in strided.cc.
#include "../whole.h"
#include "normal.h"
#include "power.h"
#include "trigonometry.h"

FW_NAMESPACE_BEGIN

static constexpr int64_t kGrain = 16384;

// ---- fill and cast -------------------------------------------------------------------------------------------------

template <class T>
static void fill_with(const Context& cx, T* y, int64_t n, T value) {
  parallel_blocks(cx, n, 4 * kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) y[i] = value;
  });
}

FW_INLINE float from_bfloat16(uint16_t half) {
  const uint32_t word = uint32_t(half) << 16;
  float x;
  __builtin_memcpy(&x, &word, 4);
  return x;
}

// Rounds to nearest, ties to even; NaN stays NaN.
FW_INLINE uint16_t to_bfloat16(float x) {
  uint32_t word;
  __builtin_memcpy(&word, &x, 4);
  const uint32_t rounded = (word + 0x7fff + ((word >> 16) & 1)) >> 16, quiet = (word >> 16) | 0x40;
  return uint16_t((word & 0x7fffffff) > 0x7f800000 ? quiet : rounded);
}

struct Bfloat16 {
  uint16_t bits;
};
struct Truth {
  Bool bits;
};
FW_INLINE void convert(float x, float& y) { y = x; }
FW_INLINE void convert(float x, Bfloat16& y) { y.bits = to_bfloat16(x); }
FW_INLINE void convert(float x, int32_t& y) { y = saturated(x); }
FW_INLINE void convert(Bfloat16 x, float& y) { y = from_bfloat16(x.bits); }
FW_INLINE void convert(Bfloat16 x, Bfloat16& y) { y = x; }
FW_INLINE void convert(Bfloat16 x, int32_t& y) { y = saturated(from_bfloat16(x.bits)); }
FW_INLINE void convert(int32_t x, float& y) { y = float(x); }
FW_INLINE void convert(int32_t x, Bfloat16& y) { y.bits = to_bfloat16(float(x)); }
FW_INLINE void convert(int32_t x, int32_t& y) { y = x; }
FW_INLINE void convert(float x, Truth& y) { y.bits = x != 0; }
FW_INLINE void convert(Bfloat16 x, Truth& y) { y.bits = from_bfloat16(x.bits) != 0; }
FW_INLINE void convert(int32_t x, Truth& y) { y.bits = x != 0; }
FW_INLINE void convert(Truth x, Truth& y) { y = x; }
template <class To>
FW_INLINE void convert(Truth x, To& y) {
  convert(int32_t(x.bits), y);
}

template <class From, class To>
static void cast_between(const Context& cx, const void* from, void* to, int64_t n) {
  const From* x = static_cast<const From*>(from);
  To* y = static_cast<To*>(to);
  parallel_blocks(cx, n, 2 * kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) convert(x[i], y[i]);
  });
}

template <class From>
static void cast_from(const Context& cx, const castArgs& a) {
  switch (a.to) {
    case kFloat32: return cast_between<From, float>(cx, a.x.data, a.y.data, a.n);
    case kBfloat16: return cast_between<From, Bfloat16>(cx, a.x.data, a.y.data, a.n);
    case kInt32: return cast_between<From, int32_t>(cx, a.x.data, a.y.data, a.n);
    case kBool: return cast_between<From, Truth>(cx, a.x.data, a.y.data, a.n);
    default: return cx.fail("cast: unknown dtype");
  }
}

void fill(const Context& cx, const fillArgs& a) {
  switch (a.dtype) {
    case kFloat32: return fill_with(cx, static_cast<float*>(a.y.data), a.n, float(a.value));
    case kBfloat16: return fill_with(cx, static_cast<uint16_t*>(a.y.data), a.n, to_bfloat16(float(a.value)));
    case kInt32: return fill_with(cx, static_cast<int32_t*>(a.y.data), a.n, saturated(a.value));
    case kBool: return fill_with(cx, a.y.bools(), a.n, Bool(a.value != 0));
    default: return cx.fail("fill: unknown dtype");
  }
}

void cast(const Context& cx, const castArgs& a) {
  switch (a.from) {
    case kFloat32: return cast_from<float>(cx, a);
    case kBfloat16: return cast_from<Bfloat16>(cx, a);
    case kInt32: return cast_from<int32_t>(cx, a);
    case kBool: return cast_from<Truth>(cx, a);
    default: return cx.fail("cast: unknown dtype");
  }
}

// ---- functions of one variable -------------------------------------------------------------------------------------

static constexpr float kGeluScale = 0.79788456f, kGeluCubic = 0.044715f;

FW_INLINE Vec one() { return splat(1.0f); }
FW_INLINE Vec root(Vec x) {
  for (int i = 0; i < kLanes; i++) x[i] = __builtin_sqrtf(x[i]);
  return x;
}
// x^a; the exponents that occur most need no logarithm.
FW_INLINE Vec power_of(Vec x, float a) {
  if (a == 2) return x * x;
  if (a == -1) return one() / x;
  // A root differs at -infinity, and at -0 by its sign.
  if (a == 0.5f) return select(x == splat(-__builtin_inff()), -x, root(x + splat(0)));
  return vpow(x, splat(a));
}

// f(x), a whole number, where x may be none: from 2^23 on there are no others, and NaN stays.
template <class F>
FW_INLINE Vec whole_of(Vec x, const F& f) {
  return select(size_of(x) < splat(8388608.0f), with_sign(f(x), x), x);
}
FW_INLINE Vec truncated(Vec x) { return __builtin_convertvector(__builtin_convertvector(x, VecInt), Vec); }
FW_INLINE Vec floored(Vec x) {
  const Vec t = truncated(x);
  return t - select(t > x, one(), Vec{});
}
// Adding 2^23 rounds to the nearest, halves to the even one.
FW_INLINE Vec rounded(Vec x) { return size_of(x) + splat(8388608.0f) - splat(8388608.0f); }

// s(x) (1 - s(x))
FW_INLINE Vec sigmoid_slope(Vec x) {
  const Vec e = vexp_full(-size_of(x)), u = one() + e;
  return e / (u * u);
}
// 2 sqrt(2/pi) (x + 0.044715 x^3): geluTanh(x) = x sigmoid of it.
FW_INLINE Vec gelu_argument(Vec x) { return splat(2 * kGeluScale) * fma(x * x * x, splat(kGeluCubic), x); }

// silu and its relatives are 0 below such arguments, and their slopes 0 or 1 beyond them, as far as floats go: held there,
// no infinity meets a 0.
static constexpr float kSiluBound = 110.0f;

template <int op>
FW_INLINE Vec value(Vec x, float a, float b) {
  if constexpr (op == kAffine) return fma(x, splat(a), splat(b));
  if constexpr (op == kExp) return vexp_full(x);
  if constexpr (op == kLog) return vlog(x);
  if constexpr (op == kSqrt) return root(x);
  if constexpr (op == kRsqrt) return one() / root(x);
  if constexpr (op == kReciprocal) return one() / x;
  if constexpr (op == kAbs) return size_of(x);
  if constexpr (op == kSquare) return x * x;
  if constexpr (op == kSin) return vsin(x);
  if constexpr (op == kCos) return vcos(x);
  if constexpr (op == kTanh) return vtanh(x);
  if constexpr (op == kSigmoid) return sigmoid_of(x);
  if constexpr (op == kLogSigmoid) return -softplus_of(-x);
  if constexpr (op == kSilu) return vabove(x, -kSiluBound) * sigmoid_of(x);
  if constexpr (op == kGelu) return vgelu(x);
  if constexpr (op == kGeluTanh) return vabove(x, -kGeluBound) * sigmoid_of(gelu_argument(x));
  if constexpr (op == kSoftplus) return softplus_of(x);
  if constexpr (op == kRelu) return select(x < Vec{}, Vec{}, x);
  if constexpr (op == kElu1) return select(x > Vec{}, x + one(), vexp_full(x));
  if constexpr (op == kPowScalar) return power_of(x, a);
  if constexpr (op == kClamp) return vclamp(x, a, b);
  if constexpr (op == kLog1p) return vlog1p_full(x);
  if constexpr (op == kExpm1) return vexpm1(x);
  if constexpr (op == kErf) return verf(x);
  if constexpr (op == kFloor) return whole_of(x, floored);
  if constexpr (op == kCeil) return -whole_of(-x, floored);
  if constexpr (op == kRound) return whole_of(x, rounded);
  if constexpr (op == kTrunc) return whole_of(x, truncated);
  if constexpr (op == kSign) return select(x > Vec{}, one(), select(x < Vec{}, -one(), x));
}

// The derivative at x, where y is the value; for the operators that `backward` leaves to it.
template <int op>
FW_INLINE Vec slope(Vec x, Vec y, float a, float b) {
  if constexpr (op == kAffine) return splat(a);
  if constexpr (op == kExp) return y;
  if constexpr (op == kSqrt) return splat(0.5f) / y;
  if constexpr (op == kAbs) return select(x > Vec{}, one(), select(x < Vec{}, -one(), x));
  if constexpr (op == kSin) return vcos(x);
  if constexpr (op == kCos) return -vsin(x);
  if constexpr (op == kTanh) return splat(4.0f) * sigmoid_slope(x + x);
  if constexpr (op == kSigmoid) return sigmoid_slope(x);
  if constexpr (op == kLogSigmoid) return sigmoid_of(-x);
  if constexpr (op == kSilu) return fma(vclamp(x, -kSiluBound, kSiluBound), sigmoid_slope(x), sigmoid_of(x));
  if constexpr (op == kGelu) return vgelu_slope(x);
  if constexpr (op == kGeluTanh) {
    const Vec near = vclamp(x, -kGeluBound, kGeluBound), u = gelu_argument(near);
    const Vec du = splat(2 * kGeluScale) * fma(near * near, splat(3 * kGeluCubic), one());
    return fma(near * du, sigmoid_slope(u), sigmoid_of(u));
  }
  if constexpr (op == kSoftplus) return sigmoid_of(x);
  if constexpr (op == kRelu) return select(x > Vec{}, one(), Vec{});
  if constexpr (op == kElu1) return select(y > one(), one(), y);
  if constexpr (op == kClamp) return select((x >= splat(a)) & (x <= splat(b)), one(), Vec{});
  if constexpr (op == kExpm1) return vexp_full(x);
  if constexpr (op == kErf) return verf_slope(x);
  if constexpr (op == kFloor || op == kCeil || op == kRound || op == kTrunc || op == kSign) return Vec{};
}

// d times the derivative of x^a, in double, where no factor leaves the range before the product does. |x|^(a - 1) takes
// the sign of x where a is even.
FW_INLINE Vec power_backward(Vec d, Vec x, float a) {
  if (a == 0) return Vec{};
  if (a == 1) return d;
  if (a == 2) return d * x + d * x;
  const Half less = wide(double(a) - 1), factor = wide(a);
  const auto product = [=](Half d, Half x) __attribute__((always_inline)) {
    return factor * d * wide_exp2(less * wide_log2(x));
  };
  const Parity parity = parity_of(splat(a));
  return signed_power(widely(product, d, size_of(x)), x, {parity.whole, parity.whole & ~parity.odd});
}

// d times the derivative, in an order in which nothing leaves the range of floats as long as the result does not, or
// nearly so.
template <int op>
FW_INLINE Vec backward(Vec d, Vec x, Vec y, float a, float b) {
  if constexpr (op == kLog) return d / x;
  else if constexpr (op == kLog1p) return d / (one() + x);
  else if constexpr (op == kRsqrt) return d * (splat(-0.5f) * y) * y * y;
  else if constexpr (op == kReciprocal) return -(d * y) * y;
  else if constexpr (op == kSquare) return d * x + d * x;
  else if constexpr (op == kPowScalar) return power_backward(d, x, a);
  else return d * slope<op>(x, y, a, b);
}

template <int op>
static void apply(const Context& cx, const unaryArgs& args) {
  const float *x = args.x, a = float(args.a), b = float(args.b);
  float* y = args.y;
  parallel_blocks(cx, args.n, kGrain, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += kLanes) {
      store_first(y + i, value<op>(load_first(x + i, end - i), a, b), end - i);
    }
  });
}

template <int op>
static void apply_backward(const Context& cx, const unaryBackwardArgs& args) {
  const float *x = args.x, *y = args.y, *dy = args.dy, a = float(args.a), b = float(args.b);
  float* dx = args.dx;
  parallel_blocks(cx, args.n, kGrain, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += kLanes) {
      const int64_t left = end - i;
      const Vec d = load_first(dy + i, left);
      store_first(dx + i, backward<op>(d, load_first(x + i, left), load_first(y + i, left), a, b), left);
    }
  });
}

#define FW_UNARY_OPS(F) F(kAffine) F(kExp) F(kLog) F(kSqrt) F(kRsqrt) F(kReciprocal) F(kAbs) F(kSquare) F(kSin) \
  F(kCos) F(kTanh) F(kSigmoid) F(kLogSigmoid) F(kSilu) F(kGelu) F(kGeluTanh) F(kSoftplus) F(kRelu) F(kElu1) \
  F(kPowScalar) F(kClamp) F(kLog1p) F(kExpm1) F(kErf) F(kFloor) F(kCeil) F(kRound) F(kTrunc) F(kSign)

void unary(const Context& cx, const unaryArgs& a) {
  switch (a.op) {
#define FW_CASE(op) case op: return apply<op>(cx, a);
    FW_UNARY_OPS(FW_CASE)
#undef FW_CASE
    default: return cx.fail("unary: unknown operation");
  }
}

void unaryBackward(const Context& cx, const unaryBackwardArgs& a) {
  switch (a.op) {
#define FW_CASE(op) case op: return apply_backward<op>(cx, a);
    FW_UNARY_OPS(FW_CASE)
#undef FW_CASE
    default: return cx.fail("unary: unknown operation");
  }
}

FW_NAMESPACE_END
