// The kernel ABI: the arguments of every kernel as plain structs, and the table of functions that a device
// fills. What each kernel computes, and the shape of every argument, stands beside the same field names in
// lib/backends/table.ts; the loader compares the two field by field and refuses an addon that differs.
#pragma once
#include <stdint.h>

// Before what code of the GPU calls, too.
#ifdef __CUDACC__
#define FW_ANYWHERE __host__ __device__
#else
#define FW_ANYWHERE
#endif

namespace fw {

// Raised whenever a field changes its meaning without changing its name or kind, and when the functions of an addon change.
constexpr int kAbiVersion = 6;

// The orders of these lists are those of lib/backends/table.ts.
enum DType { kFloat32, kBfloat16, kInt32, kFloat64, kBool };

// A byte of 0 or 1.
using Bool = uint8_t;

// Contiguous buffers. `Maybe` ones are null when absent. Kernels of the CPU take float32 where they take a float. `size`
// counts the elements that the tensor reaches over; native/extents.h compares it with what the kernel will touch.
struct In {
  const void* data = nullptr;
  DType dtype = kFloat32;
  int64_t size = 0;
  FW_ANYWHERE operator const float*() const { return static_cast<const float*>(data); }
  FW_ANYWHERE const int32_t* ints() const { return static_cast<const int32_t*>(data); }
  FW_ANYWHERE const Bool* bools() const { return static_cast<const Bool*>(data); }
};
struct Out {
  void* data = nullptr;
  DType dtype = kFloat32;
  int64_t size = 0;
  FW_ANYWHERE operator float*() const { return static_cast<float*>(data); }
  FW_ANYWHERE int32_t* ints() const { return static_cast<int32_t*>(data); }
  FW_ANYWHERE Bool* bools() const { return static_cast<Bool*>(data); }
};
struct InMaybe : In {};
struct OutMaybe : Out {};
struct InOut : Out {};
struct InOutMaybe : Out {};

// A strided operand [tokens, heads, width]; strides in elements, the last dimension contiguous. `count` is its own
// number of heads: head h of a kernel with `heads` heads reads h * count / heads.
struct Heads {
  const float* data = nullptr;
  DType dtype = kFloat32;
  int64_t size = 0, token = 0, head = 0, count = 0;
  const float* at(int64_t t, int64_t h, int64_t heads) const {
    return data + t * token + (count == heads ? h : h * count / heads) * head;
  }
};
struct HeadsMaybe : Heads {};

// Any number of contiguous buffers, with their numbers of elements; those of an InOutList are written.
struct Span {
  void* data;
  DType dtype;
  int64_t size;
  FW_ANYWHERE operator float*() const { return static_cast<float*>(data); }
};
struct List {
  const Span* items = nullptr;
  int64_t count = 0;
  const Span& operator[](int64_t i) const { return items[i]; }
};
struct InOutList : List {};

struct Dims {
  int64_t rank = 0;
  int64_t d[8] = {};
  int64_t operator[](int64_t i) const { return d[i]; }
};
using Int = int64_t;
using Float = double;

enum UnaryOp {
  kAffine, kExp, kLog, kSqrt, kRsqrt, kReciprocal, kAbs, kSquare, kSin, kCos, kTanh, kSigmoid, kLogSigmoid, kSilu,
  kGelu, kGeluTanh, kSoftplus, kRelu, kElu1, kPowScalar, kClamp, kLog1p, kExpm1, kErf, kFloor, kCeil, kRound, kTrunc,
  kSign
};
enum BinaryOp { kAdd, kSub, kMul, kDiv, kPow, kMaximum, kMinimum, kFloorDivide, kRemainder, kAtan2 };
enum CompareOp { kEq, kNe, kLt, kLe, kGt, kGe };
enum ReduceOp { kSum, kMean, kMax, kMin, kProd };
enum ScanOp { kLinearScan, kLogSumExpScan };
enum NormKind { kLayer, kRms, kL2, kBySum };
enum Activation { kNoActivation, kSiluActivation };
enum WeightFormat { kBfloat16Weights, kInt8Weights };
enum DeltaCellKind { kDeltaRnn1, kDeltaRnn2, kDeltaLstm1, kDeltaLstm2, kDeltaLstm3, kDeltaLstm4 };
enum EraseFrom { kEraseNone, kEraseDecayed, kEraseUndecayed };

// The `max` of a recurrence counts for at least this: e^-max stays a number, and so does its inverse.
constexpr float kLeastMax = -80;

// clang-format off
#define FW_FIELDS_fill(F) F(Out, y) F(Int, n) F(Float, value) F(Int, dtype)
#define FW_FIELDS_cast(F) F(In, x) F(Out, y) F(Int, n) F(Int, from) F(Int, to)
#define FW_FIELDS_copy(F) F(In, x) F(Out, y) F(Dims, shape) F(Dims, xStrides) F(Dims, yStrides) F(Int, bytes)
#define FW_FIELDS_unary(F) F(In, x) F(Out, y) F(Int, n) F(Int, op) F(Float, a) F(Float, b)
#define FW_FIELDS_unaryBackward(F) F(In, x) F(In, y) F(In, dy) F(Out, dx) F(Int, n) F(Int, op) F(Float, a) \
  F(Float, b)
#define FW_FIELDS_binary(F) F(In, a) F(In, b) F(Out, y) F(Dims, shape) F(Dims, aStrides) F(Dims, bStrides) \
  F(Int, op) F(Int, dtype)
#define FW_FIELDS_compare(F) F(In, a) F(In, b) F(Out, y) F(Dims, shape) F(Dims, aStrides) F(Dims, bStrides) \
  F(Int, op) F(Int, dtype)
#define FW_FIELDS_where(F) F(In, condition) F(In, a) F(In, b) F(Out, y) F(Dims, shape) F(Dims, conditionStrides) \
  F(Dims, aStrides) F(Dims, bStrides) F(Int, bytes)
#define FW_FIELDS_gather(F) F(In, x) F(In, index) F(Out, y) F(Dims, shape) F(Dims, xStrides) F(Dims, indexStrides) \
  F(Int, step) F(Int, limit) F(Int, bytes)
#define FW_FIELDS_scatterAdd(F) F(In, x) F(In, index) F(InOut, y) F(Dims, shape) F(Dims, xStrides) \
  F(Dims, indexStrides) F(Dims, yStrides) F(Int, step) F(Int, limit)
#define FW_FIELDS_argsort(F) F(In, x) F(Out, y) F(Int, outer) F(Int, n) F(Int, inner) F(Int, descending)
#define FW_FIELDS_reduce(F) F(In, x) F(Out, y) F(Int, outer) F(Int, n) F(Int, inner) F(Int, op)
#define FW_FIELDS_argmax(F) F(In, x) F(Out, y) F(Int, outer) F(Int, n) F(Int, inner)
#define FW_FIELDS_cumsum(F) F(In, x) F(Out, y) F(Int, outer) F(Int, n) F(Int, inner) F(Int, reverse)
#define FW_FIELDS_scan(F) F(In, x) F(InMaybe, factor) F(Out, y) F(Int, outer) F(Int, n) F(Int, inner) \
  F(Int, reverse) F(Int, op)
#define FW_FIELDS_softmax(F) F(In, x) F(Out, y) F(Int, rows) F(Int, n) F(Int, log)
#define FW_FIELDS_softmaxBackward(F) F(In, y) F(In, dy) F(Out, dx) F(Int, rows) F(Int, n) F(Int, log)
#define FW_FIELDS_norm(F) F(In, x) F(InMaybe, weight) F(InMaybe, bias) F(Out, y) F(Out, stats) F(Int, rows) \
  F(Int, n) F(Int, groups) F(Int, kind) F(Float, eps)
#define FW_FIELDS_normBackward(F) F(In, x) F(InMaybe, weight) F(In, stats) F(In, dy) F(InOut, dx) \
  F(OutMaybe, dweight) F(OutMaybe, dbias) F(Int, rows) F(Int, n) F(Int, groups) F(Int, kind) F(Int, accumulate)
#define FW_FIELDS_embedding(F) F(In, weight) F(In, indices) F(Out, y) F(Int, rows) F(Int, d) F(Int, vocabulary)
#define FW_FIELDS_embeddingBackward(F) F(In, indices) F(In, dy) F(Out, dweight) F(Int, rows) F(Int, d) \
  F(Int, vocabulary)
#define FW_FIELDS_shortConv(F) F(Heads, x) F(In, weight) F(InMaybe, bias) F(InMaybe, initialState) \
  F(InMaybe, offsets) F(Out, y) F(OutMaybe, finalState) F(Int, sequences) F(Int, tokens) F(Int, d) F(Int, width) \
  F(Int, activation)
#define FW_FIELDS_shortConvBackward(F) F(Heads, x) F(In, weight) F(InMaybe, bias) F(InMaybe, initialState) \
  F(InMaybe, offsets) F(In, dy) F(InMaybe, dfinalState) F(Out, dx) F(Out, dweight) F(OutMaybe, dbias) \
  F(OutMaybe, dinitialState) F(Int, sequences) F(Int, tokens) F(Int, d) F(Int, width) F(Int, activation)
#define FW_FIELDS_shortConvStep(F) F(In, x) F(In, weight) F(InMaybe, bias) F(InOut, state) F(Out, y) \
  F(Int, batch) F(Int, d) F(Int, width) F(Int, activation)
#define FW_FIELDS_matmul(F) F(In, a) F(In, b) F(InOut, c) F(Int, batch1) F(Int, batch2) F(Int, m) F(Int, n) \
  F(Int, k) F(Dims, aStrides) F(Dims, bStrides) F(Dims, cStrides) F(Float, alpha) F(Int, accumulate) \
  F(Int, precision)
#define FW_FIELDS_linear(F) F(In, x) F(In, weight) F(InMaybe, bias) F(InMaybe, residual) F(Out, y) \
  F(OutMaybe, preactivation) F(Int, rows) F(Int, n) F(Int, k) F(Int, activation) F(Int, precision)
#define FW_FIELDS_quantizedLinear(F) F(In, x) F(In, weight) F(InMaybe, scale) F(InMaybe, bias) F(InMaybe, residual) \
  F(Out, y) F(Int, rows) F(Int, n) F(Int, k) F(Int, activation) F(Int, format)
#define FW_FIELDS_feedForward(F) F(In, x) F(In, gateWeight) F(In, upWeight) F(In, downWeight) F(InMaybe, residual) \
  F(Out, y) F(OutMaybe, gate) F(OutMaybe, up) F(Int, rows) F(Int, d) F(Int, hidden) F(Int, precision)
#define FW_FIELDS_feedForwardBackward(F) F(In, gateWeight) F(In, upWeight) F(In, downWeight) F(In, gate) F(In, up) \
  F(In, dy) F(Out, activated) F(Out, dgate) F(Out, dup) F(InOutMaybe, dx) F(Int, rows) F(Int, d) F(Int, hidden) \
  F(Int, accumulate) F(Int, precision)
#define FW_FIELDS_random(F) F(Out, y) F(Int, n) F(Int, kind) F(Int, seedLow) F(Int, seedHigh) F(Int, stream) \
  F(Float, a) F(Float, b)
#define FW_FIELDS_dropout(F) F(In, x) F(Out, y) F(Int, n) F(Float, p) F(Int, seedLow) F(Int, seedHigh) \
  F(Int, stream)
#define FW_FIELDS_crossEntropy(F) F(In, logits) F(In, target) F(Out, loss) F(Out, lse) F(Int, rows) F(Int, n) \
  F(Int, ignoreIndex) F(Float, smoothing) F(Float, zLoss) F(Float, softcap)
#define FW_FIELDS_crossEntropyBackward(F) F(In, logits) F(In, target) F(In, lse) F(In, dloss) F(Out, dlogits) \
  F(Int, rows) F(Int, n) F(Int, ignoreIndex) F(Float, smoothing) F(Float, zLoss) F(Float, softcap)
#define FW_FIELDS_rope(F) F(In, x) F(Out, y) F(In, positions) F(In, frequencies) F(Int, tokens) F(Int, heads) \
  F(Int, width) F(Int, pairs) F(Int, interleaved) F(Int, inverse)
#define FW_FIELDS_attention(F) F(In, q) F(In, k) F(In, v) F(InMaybe, offsets) F(Out, y) F(Out, lse) \
  F(Int, sequences) F(Int, tokens) F(Int, keys) F(Int, heads) F(Int, keyHeads) F(Int, keyDim) F(Int, valueDim) \
  F(Float, scale) F(Int, window)
#define FW_FIELDS_attentionBackward(F) F(In, q) F(In, k) F(In, v) F(InMaybe, offsets) F(In, y) F(In, lse) \
  F(In, dy) F(Out, dq) F(Out, dk) F(Out, dv) F(Int, sequences) F(Int, tokens) F(Int, keys) F(Int, heads) \
  F(Int, keyHeads) F(Int, keyDim) F(Int, valueDim) F(Float, scale) F(Int, window)
#define FW_FIELDS_lstmCell(F) F(In, gates) F(In, cell) F(Out, newCell) F(Out, hidden) F(Int, rows) F(Int, d)
#define FW_FIELDS_lstmCellBackward(F) F(In, gates) F(In, cell) F(In, newCell) F(In, dhidden) \
  F(InMaybe, dnewCell) F(Out, dgates) F(Out, dcell) F(Int, rows) F(Int, d)
#define FW_FIELDS_exponentialGates(F) F(In, inputGate) F(In, forgetGate) F(InMaybe, initialMax) F(InMaybe, offsets) \
  F(Out, gate) F(Out, beta) F(Out, max) F(Out, finalMax) F(Int, sequences) F(Int, tokens) F(Int, heads) \
  F(Int, logSigmoid)
#define FW_FIELDS_exponentialGatesBackward(F) F(In, inputGate) F(In, forgetGate) F(InMaybe, offsets) F(In, beta) \
  F(In, max) F(In, dgate) F(In, dbeta) F(In, dmax) F(In, dfinalMax) F(Out, dinputGate) F(Out, dforgetGate) \
  F(OutMaybe, dinitialMax) F(Int, sequences) F(Int, tokens) F(Int, heads) F(Int, logSigmoid)
#define FW_FIELDS_recurrence(F) F(Heads, q) F(Heads, k) F(Heads, v) F(HeadsMaybe, gate) F(HeadsMaybe, beta) \
  F(HeadsMaybe, eraseKey) F(HeadsMaybe, writeKey) F(InMaybe, bonus) F(InMaybe, max) F(InMaybe, initialState) \
  F(InMaybe, offsets) F(Out, output) F(OutMaybe, sums) F(OutMaybe, finalState) F(OutMaybe, states) \
  F(OutMaybe, written) F(Int, sequences) F(Int, tokens) F(Int, heads) F(Int, keyDim) F(Int, valueDim) \
  F(Float, scale) F(Float, eps) F(Int, gateWidth) F(Int, betaWidth) F(Int, eraseFrom) F(Int, secondWrite) \
  F(Int, readBefore) F(Int, exchanged) F(Int, recurrent) F(Int, checkpointEvery)
#define FW_FIELDS_recurrenceBackward(F) F(Heads, q) F(Heads, k) F(Heads, v) F(HeadsMaybe, gate) \
  F(HeadsMaybe, beta) F(HeadsMaybe, eraseKey) F(HeadsMaybe, writeKey) F(InMaybe, bonus) F(InMaybe, max) \
  F(InMaybe, initialState) F(InMaybe, offsets) F(In, states) F(In, written) F(InMaybe, output) F(InMaybe, sums) \
  F(In, doutput) F(InMaybe, dfinalState) F(Out, dq) F(Out, dk) F(Out, dv) F(OutMaybe, dgate) F(OutMaybe, dbeta) \
  F(OutMaybe, deraseKey) F(OutMaybe, dwriteKey) F(OutMaybe, dbonus) F(OutMaybe, dmax) F(OutMaybe, dinitialState) \
  F(Int, sequences) F(Int, tokens) F(Int, heads) F(Int, keyDim) F(Int, valueDim) F(Float, scale) F(Float, eps) \
  F(Int, gateWidth) F(Int, betaWidth) F(Int, eraseFrom) F(Int, secondWrite) F(Int, readBefore) F(Int, exchanged) \
  F(Int, recurrent) F(Int, checkpointEvery)
#define FW_FIELDS_recurrenceStep(F) F(Heads, q) F(Heads, k) F(Heads, v) F(HeadsMaybe, gate) F(HeadsMaybe, beta) \
  F(HeadsMaybe, eraseKey) F(HeadsMaybe, writeKey) F(InMaybe, bonus) F(InOut, state) F(Out, output) \
  F(Int, sequences) F(Int, heads) F(Int, keyDim) F(Int, valueDim) F(Float, scale) F(Int, gateWidth) \
  F(Int, betaWidth) F(Int, eraseFrom) F(Int, secondWrite) F(Int, readBefore) F(Int, exchanged)
#define FW_FIELDS_selfReferential(F) F(In, x) F(InMaybe, inputY) F(In, initialState) F(InMaybe, offsets) \
  F(Out, output) F(Out, finalState) F(OutMaybe, trace) F(Int, sequences) F(Int, tokens) F(Int, heads) \
  F(Int, width) F(Int, outputWidth)
#define FW_FIELDS_selfReferentialBackward(F) F(In, x) F(InMaybe, inputY) F(In, finalState) F(InMaybe, offsets) \
  F(In, trace) F(In, doutput) F(InMaybe, dfinalState) F(Out, dx) F(OutMaybe, dinputY) F(Out, dinitialState) \
  F(Int, sequences) F(Int, tokens) F(Int, heads) F(Int, width) F(Int, outputWidth)
#define FW_FIELDS_recurrentDelta(F) F(In, inputs) F(In, recurrent) F(In, initialState) F(In, initialOutput) \
  F(InMaybe, offsets) F(Out, output) F(Out, finalState) F(Out, finalOutput) F(OutMaybe, hidden) F(OutMaybe, trace) \
  F(Int, sequences) F(Int, tokens) F(Int, heads) F(Int, width)
#define FW_FIELDS_recurrentDeltaBackward(F) F(In, recurrent) F(In, finalState) F(InMaybe, offsets) F(In, hidden) \
  F(In, trace) F(In, doutput) F(InMaybe, dfinalState) F(In, dfinalOutput) F(Out, dinputs) F(Out, dinitialState) \
  F(Out, dinitialOutput) F(Int, sequences) F(Int, tokens) F(Int, heads) F(Int, width)
#define FW_FIELDS_deltaCell(F) F(In, z) F(InMaybe, zUpdate) F(InMaybe, zOut) F(In, key) F(InMaybe, keyUpdate) \
  F(InMaybe, keyOut) F(In, v) F(InMaybe, vUpdate) F(InMaybe, vOut) F(In, beta) F(InMaybe, betaUpdate) \
  F(InMaybe, betaOut) F(In, initialState) F(In, initialOutput) \
  F(InMaybe, initialCell) F(InMaybe, offsets) F(Out, output) F(Out, finalState) F(Out, finalOutput) \
  F(OutMaybe, finalCell) F(OutMaybe, trace) F(Int, sequences) F(Int, tokens) F(Int, heads) F(Int, width) F(Int, cell)
#define FW_FIELDS_deltaCellBackward(F) F(In, key) F(InMaybe, keyUpdate) F(InMaybe, keyOut) F(In, beta) \
  F(InMaybe, betaUpdate) F(InMaybe, betaOut) F(In, finalState) F(InMaybe, offsets) F(In, output) \
  F(In, trace) F(In, doutput) F(InMaybe, dfinalState) F(In, dfinalOutput) F(InMaybe, dfinalCell) F(Out, dz) \
  F(OutMaybe, dzUpdate) F(OutMaybe, dzOut) F(Out, dkey) F(OutMaybe, dkeyUpdate) F(OutMaybe, dkeyOut) F(Out, dv) \
  F(OutMaybe, dvUpdate) F(OutMaybe, dvOut) F(Out, dbeta) F(OutMaybe, dbetaUpdate) F(OutMaybe, dbetaOut) \
  F(Out, dinitialState) F(Out, dinitialOutput) F(OutMaybe, dinitialCell) \
  F(Int, sequences) F(Int, tokens) F(Int, heads) F(Int, width) F(Int, cell)
#define FW_FIELDS_linearLearner(F) F(In, q) F(In, k) F(In, target) F(In, theta) F(InMaybe, scale) F(InMaybe, alpha) \
  F(InMaybe, eta) F(InMaybe, normWeight) F(InMaybe, normBias) F(In, initialState) F(InMaybe, initialMomentum) \
  F(Out, output) F(Out, finalState) F(OutMaybe, finalMomentum) F(OutMaybe, states) F(OutMaybe, reads) \
  F(Int, sequences) F(Int, tokens) F(Int, heads) F(Int, keyDim) F(Int, valueDim) F(Int, chunk) F(Int, bias) \
  F(Int, momentum) F(Int, addsRead) F(Float, eps)
#define FW_FIELDS_linearLearnerBackward(F) F(In, q) F(In, k) F(In, target) F(In, theta) F(InMaybe, scale) \
  F(InMaybe, alpha) F(InMaybe, eta) F(InMaybe, normWeight) F(InMaybe, normBias) F(In, states) F(InMaybe, reads) \
  F(In, doutput) F(In, dfinalState) F(InMaybe, dfinalMomentum) F(Out, dq) F(Out, dk) F(Out, dtarget) F(Out, dtheta) \
  F(OutMaybe, dscale) F(OutMaybe, dalpha) F(OutMaybe, deta) F(OutMaybe, dnormWeight) F(OutMaybe, dnormBias) \
  F(Out, dinitialState) F(OutMaybe, dinitialMomentum) F(Int, sequences) F(Int, tokens) F(Int, heads) F(Int, keyDim) \
  F(Int, valueDim) F(Int, chunk) F(Int, bias) F(Int, momentum) F(Int, addsRead) F(Float, eps)
#define FW_FIELDS_adam(F) F(InOutList, parameters) F(List, gradients) F(InOutList, means) F(InOutList, squares) \
  F(InMaybe, gradientScale) F(Float, learningRate) F(Float, beta1) F(Float, beta2) F(Float, eps) \
  F(Float, weightDecay) F(Int, coupled) F(Float, correction1) F(Float, correction2)
#define FW_FIELDS_sgd(F) F(InOutList, parameters) F(List, gradients) F(InOutList, momentumBuffers) \
  F(InMaybe, gradientScale) F(Float, learningRate) F(Float, momentum) F(Int, nesterov) \
  F(Float, weightDecay)
#define FW_FIELDS_sumSquares(F) F(List, x) F(Out, y)
#define FW_FIELDS_swiglu(F) F(In, gate) F(In, up) F(Out, y) F(Int, n)
#define FW_FIELDS_swigluBackward(F) F(In, gate) F(In, up) F(In, dy) F(Out, dgate) F(Out, dup) F(Int, n)
#define FW_KERNELS(K) K(fill) K(cast) K(copy) K(unary) K(unaryBackward) K(binary) K(compare) K(where) \
  K(gather) K(scatterAdd) K(argsort) K(reduce) K(argmax) K(cumsum) K(scan) K(softmax) K(softmaxBackward) K(norm) K(normBackward) K(embedding) K(embeddingBackward) K(shortConv) \
  K(shortConvBackward) K(shortConvStep) K(matmul) K(linear) K(quantizedLinear) K(feedForward) K(feedForwardBackward) K(random) K(dropout) K(crossEntropy) K(crossEntropyBackward) \
  K(rope) K(attention) K(attentionBackward) K(lstmCell) K(lstmCellBackward) \
  K(exponentialGates) K(exponentialGatesBackward) K(recurrence) K(recurrenceBackward) \
  K(recurrenceStep) K(selfReferential) K(selfReferentialBackward) K(recurrentDelta) \
  K(recurrentDeltaBackward) K(deltaCell) K(deltaCellBackward) \
  K(linearLearner) K(linearLearnerBackward) K(adam) K(sgd) K(sumSquares) K(swiglu) K(swigluBackward)
// clang-format on

#define FW_MEMBER(kind, name) kind name{};
#define FW_STRUCT(kernel) \
  struct kernel##Args {   \
    FW_FIELDS_##kernel(FW_MEMBER) \
  };
FW_KERNELS(FW_STRUCT)
#undef FW_STRUCT
#undef FW_MEMBER

// What a kernel of the CPU gets from whoever runs it: threads and scratch memory.
struct Context {
  // Threads that `run` may use; results never depend on it.
  int threads;
  // Calls task(data, i) for every i < tasks, on several threads, and returns when all are done.
  void (*run)(const Context&, int64_t tasks, void (*task)(void* data, int64_t i), void* data);
  // Memory of the calling thread, aligned to 64 bytes, uninitialised, valid until the same thread asks for the same
  // slot (0 to 3) again. Fails when there is none left.
  void* (*scratch)(int slot, int64_t bytes);
  // Gives the call up, on any of its threads: it throws what the reads of the call's results will throw.
  void (*fail)(const char* reason);
};

// What a device fills; its context is whatever its kernels need to run.
template <class Context>
struct Kernels {
#define FW_ENTRY(kernel) void (*kernel)(const Context&, const kernel##Args&);
  FW_KERNELS(FW_ENTRY)
#undef FW_ENTRY
};

using KernelTable = Kernels<Context>;

}  // namespace fw
