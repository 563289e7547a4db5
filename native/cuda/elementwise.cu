// fill, cast, unary functions and their derivatives. binary and copy, which walk strides, stand in strided.cu.
#include "../whole.h"
#include "flat.cuh"
#include "math.cuh"

namespace fw::cuda {

// ---- fill and cast -------------------------------------------------------------------------------------------------

struct Fill {
  static constexpr int kThreads = kFlatThreads;
  struct Args {
    Out y;
    int64_t n;
    float value;
    int32_t whole;
  };
  struct Shared {};
  static FW_DEVICE void run(const Args& a, Shared&) {
    const int64_t i = kRun * flatThread();
    if (i >= a.n) return;
    const float x = a.value;
    const int32_t k = a.whole;
    if (a.y.dtype == kInt32) storeRun(a.y.ints() + i, a.n - i, Run<int32_t>{{k, k, k, k}});
    else storeRun(a.y, i, a.n - i, {{x, x, x, x}});
  }
};

void fill(const Context& cx, const fillArgs& a) {
  const bool whole = a.y.dtype == kInt32;
  launch<Fill>(cx, flatBlocks(a.n),
               {a.y, a.n, whole ? 0 : static_cast<float>(a.value), whole ? saturated(a.value) : 0});
}

struct Cast {
  static constexpr int kThreads = kFlatThreads;
  using Args = castArgs;
  struct Shared {};
  static FW_DEVICE void run(const Args& a, Shared&) {
    const int64_t i = kRun * flatThread(), left = a.n - i;
    if (left <= 0) return;
    if (a.x.dtype != kInt32) {
      const Run<float> x = loadRun(a.x, i, left);
      if (a.y.dtype != kInt32) return storeRun(a.y, i, left, x);
      Run<int32_t> y;
      FW_UNROLL for (int j = 0; j < kRun; j++) y.at[j] = saturated(x.at[j]);
      storeRun(a.y.ints() + i, left, y);
    } else {
      const Run<int32_t> x = loadRun(a.x.ints() + i, left);
      if (a.y.dtype == kInt32) return storeRun(a.y.ints() + i, left, x);
      Run<float> y;
      FW_UNROLL for (int j = 0; j < kRun; j++) y.at[j] = static_cast<float>(x.at[j]);
      storeRun(a.y, i, left, y);
    }
  }
};

void cast(const Context& cx, const castArgs& a) { launch<Cast>(cx, flatBlocks(a.n), a); }

// ---- functions of one variable -------------------------------------------------------------------------------------

template <UnaryOp op>
FW_DEVICE float value(float x, float a, float b) {
  if constexpr (op == kAffine) return a * x + b;
  if constexpr (op == kExp) return expf(x);
  if constexpr (op == kLog) return logf(x);
  if constexpr (op == kSqrt) return sqrtf(x);
  if constexpr (op == kRsqrt) return 1.0f / sqrtf(x);
  if constexpr (op == kReciprocal) return 1.0f / x;
  if constexpr (op == kAbs) return fabsf(x);
  if constexpr (op == kSquare) return x * x;
  if constexpr (op == kSin) return sinf(x);
  if constexpr (op == kCos) return cosf(x);
  if constexpr (op == kTanh) return tanhf(x);
  if constexpr (op == kSigmoid) return sigmoid(x);
  if constexpr (op == kLogSigmoid) return -softplus(-x);
  if constexpr (op == kSilu) return silu(x);
  if constexpr (op == kGelu) return gelu(x);
  if constexpr (op == kGeluTanh) return geluTanh(x);
  if constexpr (op == kSoftplus) return softplus(x);
  if constexpr (op == kRelu) return x < 0 ? 0.0f : x;
  if constexpr (op == kElu1) return x > 0 ? x + 1.0f : expf(x);
  if constexpr (op == kPowScalar) return powf(x, a);
  if constexpr (op == kClamp) {
    const float above = x < a ? a : x;
    return above > b ? b : above;
  }
}

// The derivative at x, for the operators that `backward` leaves to it. The value is not read again: to compute it costs
// less, and bfloat16 has rounded it.
template <UnaryOp op>
FW_DEVICE float slope(float x, float a, float b) {
  if constexpr (op == kAffine) return a;
  if constexpr (op == kExp) return expf(x);
  if constexpr (op == kSqrt) return 0.5f / sqrtf(x);
  if constexpr (op == kAbs) return x > 0 ? 1.0f : x < 0 ? -1.0f : x;
  if constexpr (op == kSin) return cosf(x);
  if constexpr (op == kCos) return -sinf(x);
  if constexpr (op == kTanh) return tanhSlope(x);
  if constexpr (op == kSigmoid) return sigmoidSlope(x);
  if constexpr (op == kLogSigmoid) return sigmoid(-x);
  if constexpr (op == kSilu) return siluSlope(x);
  if constexpr (op == kGelu) return geluSlope(x);
  if constexpr (op == kGeluTanh) return geluTanhSlope(x);
  if constexpr (op == kSoftplus) return sigmoid(x);
  if constexpr (op == kRelu) return x > 0 ? 1.0f : 0.0f;
  if constexpr (op == kElu1) return x > 0 ? 1.0f : expf(x);
  if constexpr (op == kClamp) return x >= a && x <= b ? 1.0f : 0.0f;
}

// d times the derivative, in an order in which nothing leaves the range of floats as long as the result does not, or
// nearly so.
template <UnaryOp op>
FW_DEVICE float backward(float d, float x, float a, float b) {
  if constexpr (op == kLog) return d / x;
  else if constexpr (op == kRsqrt) return d * (-0.5f / sqrtf(x)) / x;
  else if constexpr (op == kReciprocal) return -(d / x) / x;
  else if constexpr (op == kSquare) return d * x + d * x;
  else if constexpr (op == kPowScalar) return a == 0 ? 0.0f : a * d * powf(x, a - 1.0f);
  else return d * slope<op>(x, a, b);
}

#define FW_UNARY_OPS(F) F(kAffine) F(kExp) F(kLog) F(kSqrt) F(kRsqrt) F(kReciprocal) F(kAbs) F(kSquare) F(kSin) \
  F(kCos) F(kTanh) F(kSigmoid) F(kLogSigmoid) F(kSilu) F(kGelu) F(kGeluTanh) F(kSoftplus) F(kRelu) F(kElu1) \
  F(kPowScalar) F(kClamp)

struct Unary {
  static constexpr int kThreads = kFlatThreads;
  using Args = unaryArgs;
  struct Shared {};
  template <UnaryOp op>
  static FW_DEVICE void apply(const Args& args, Run<float>& x) {
    const float a = static_cast<float>(args.a), b = static_cast<float>(args.b);
    FW_UNROLL for (int j = 0; j < kRun; j++) x.at[j] = value<op>(x.at[j], a, b);
  }
  static FW_DEVICE void run(const Args& args, Shared&) {
    const int64_t i = kRun * flatThread(), left = args.n - i;
    if (left <= 0) return;
    Run<float> x = loadRun(args.x, i, left);
    switch (args.op) {
#define FW_CASE(op) case op: apply<op>(args, x); break;
      FW_UNARY_OPS(FW_CASE)
#undef FW_CASE
      default: trap();
    }
    storeRun(args.y, i, left, x);
  }
};

struct UnaryBackward {
  static constexpr int kThreads = kFlatThreads;
  using Args = unaryBackwardArgs;
  struct Shared {};
  template <UnaryOp op>
  static FW_DEVICE void apply(const Args& args, const Run<float>& x, Run<float>& d) {
    const float a = static_cast<float>(args.a), b = static_cast<float>(args.b);
    FW_UNROLL for (int j = 0; j < kRun; j++) d.at[j] = backward<op>(d.at[j], x.at[j], a, b);
  }
  static FW_DEVICE void run(const Args& args, Shared&) {
    const int64_t i = kRun * flatThread(), left = args.n - i;
    if (left <= 0) return;
    const Run<float> x = loadRun(args.x, i, left);
    Run<float> d = loadRun(args.dy, i, left);
    switch (args.op) {
#define FW_CASE(op) case op: apply<op>(args, x, d); break;
      FW_UNARY_OPS(FW_CASE)
#undef FW_CASE
      default: trap();
    }
    storeRun(args.dx, i, left, d);
  }
};

void unary(const Context& cx, const unaryArgs& a) {
  require_known("unary", "operation", a.op, kClamp + 1);
  launch<Unary>(cx, flatBlocks(a.n), a);
}
void unaryBackward(const Context& cx, const unaryBackwardArgs& a) {
  require_known("unaryBackward", "operation", a.op, kClamp + 1);
  launch<UnaryBackward>(cx, flatBlocks(a.n), a);
}

}  // namespace fw::cuda
