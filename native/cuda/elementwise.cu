// fill, cast, unary functions and their derivatives. binary and copy, which walk strides, stand in strided.cu.
#include "../whole.h"
#include "flat.cuh"
#include "lanes.cuh"
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
    const Bool b = k != 0;
    if (a.y.dtype == kBool) storeRun(a.y.bools() + i, a.n - i, Run<Bool>{{b, b, b, b}});
    else if (a.y.dtype == kInt32) storeRun(a.y.ints() + i, a.n - i, Run<int32_t>{{k, k, k, k}});
    else storeRun(a.y, i, a.n - i, {{x, x, x, x}});
  }
};

void fill(const Context& cx, const fillArgs& a) {
  const bool whole = a.y.dtype == kInt32 || a.y.dtype == kBool;
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
    switch (a.x.dtype) {
      case kInt32: return write(a.y, i, left, loadRun(a.x.ints() + i, left));
      case kBool: return write(a.y, i, left, loadRun(a.x.bools() + i, left));
      default: return write(a.y, i, left, loadRun(a.x, i, left));
    }
  }

  template <class T>
  static FW_DEVICE void write(const Out& y, int64_t i, int64_t left, const Run<T>& x) {
    if (y.dtype == kBool) {
      Run<Bool> to;
      FW_UNROLL for (int j = 0; j < kRun; j++) to.at[j] = x.at[j] != 0;
      storeRun(y.bools() + i, left, to);
    } else if (y.dtype == kInt32) {
      Run<int32_t> to;
      FW_UNROLL for (int j = 0; j < kRun; j++) to.at[j] = whole(x.at[j]);
      storeRun(y.ints() + i, left, to);
    } else {
      Run<float> to;
      FW_UNROLL for (int j = 0; j < kRun; j++) to.at[j] = static_cast<float>(x.at[j]);
      storeRun(y, i, left, to);
    }
  }
  static FW_DEVICE int32_t whole(float x) { return saturated(x); }
  static FW_DEVICE int32_t whole(int32_t x) { return x; }
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
  if constexpr (op == kLog1p) return log1pf(x);
  if constexpr (op == kExpm1) return expm1f(x);
  if constexpr (op == kErf) return erff(x);
  if constexpr (op == kFloor) return floorf(x);
  if constexpr (op == kCeil) return ceilf(x);
  if constexpr (op == kRound) return rintf(x);
  if constexpr (op == kTrunc) return truncf(x);
  if constexpr (op == kSign) return x > 0 ? 1.0f : x < 0 ? -1.0f : x;
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
  if constexpr (op == kExpm1) return expf(x);
  if constexpr (op == kErf) return 1.12837917f * expf(-x * x);
  if constexpr (op == kFloor || op == kCeil || op == kRound || op == kTrunc || op == kSign) return 0;
}

// d times the derivative, in an order in which nothing leaves the range of floats as long as the result does not, or
// nearly so.
template <UnaryOp op>
FW_DEVICE float backward(float d, float x, float a, float b) {
  if constexpr (op == kLog) return d / x;
  else if constexpr (op == kLog1p) return d / (1.0f + x);
  else if constexpr (op == kRsqrt) return d * (-0.5f / sqrtf(x)) / x;
  else if constexpr (op == kReciprocal) return -(d / x) / x;
  else if constexpr (op == kSquare) return d * x + d * x;
  else if constexpr (op == kPowScalar) return a == 0 ? 0.0f : a * d * powf(x, a - 1.0f);
  else return d * slope<op>(x, a, b);
}

#define FW_UNARY_OPS(F) F(kAffine) F(kExp) F(kLog) F(kSqrt) F(kRsqrt) F(kReciprocal) F(kAbs) F(kSquare) F(kSin) \
  F(kCos) F(kTanh) F(kSigmoid) F(kLogSigmoid) F(kSilu) F(kGelu) F(kGeluTanh) F(kSoftplus) F(kRelu) F(kElu1) \
  F(kPowScalar) F(kClamp) F(kLog1p) F(kExpm1) F(kErf) F(kFloor) F(kCeil) F(kRound) F(kTrunc) F(kSign)

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

// That of silu for bfloat16 in whole packs: what projections with this activation leave to their backward pass, tensors as
// large as any in training.
struct SiluBackwardPacks {
  static constexpr int kThreads = kFlatThreads, kLanes = 8;
  using Packed = Pack<uint16_t, kLanes>;
  struct Args {
    const Packed::Stored *x, *dy;
    Packed::Stored* dx;
    int64_t packs;
  };
  struct Shared {};
  static FW_DEVICE void run(const Args& args, Shared&) {
    const int64_t i = flatThread();
    if (i >= args.packs) return;
    const Packed::Stored stored = args.x[i], slopes = args.dy[i];
    float x[kLanes], d[kLanes];
    Packed::widen(x, stored), Packed::widen(d, slopes);
    FW_UNROLL for (int l = 0; l < kLanes; l++) d[l] = backward<kSilu>(d[l], x[l], 0, 0);
    args.dx[i] = Packed::narrow(d);
  }

  static bool fits(const unaryBackwardArgs& a) {
    const auto whole = [&](const void* data, DType dtype) { return dtype == kBfloat16 && lies_whole(data, a.n, dtype); };
    return a.op == kSilu && whole(a.x.data, a.x.dtype) && whole(a.dy.data, a.dy.dtype) && whole(a.dx.data, a.dx.dtype);
  }
  static void start(const Context& cx, const unaryBackwardArgs& a) {
    const auto packs = [](const void* data) { return static_cast<const Packed::Stored*>(data); };
    const int64_t count = a.n / kLanes;
    launch<SiluBackwardPacks>(cx, (count + kThreads - 1) / kThreads,
                              {packs(a.x.data), packs(a.dy.data), static_cast<Packed::Stored*>(a.dx.data), count});
  }
};

void unary(const Context& cx, const unaryArgs& a) {
  require_known("unary", "operation", a.op, kSign + 1);
  launch<Unary>(cx, flatBlocks(a.n), a);
}
void unaryBackward(const Context& cx, const unaryBackwardArgs& a) {
  require_known("unaryBackward", "operation", a.op, kSign + 1);
  if (SiluBackwardPacks::fits(a)) return SiluBackwardPacks::start(cx, a);
  launch<UnaryBackward>(cx, flatBlocks(a.n), a);
}

}  // namespace fw::cuda
