// Products in the terms of cuBLAS.
#pragma once
#include "../cublas.h"
#include "problem.cuh"

namespace fw::cuda::gemm {

// How far apart runs of `inner` elements are, of which there are `outer`; 0 where they are not runs, or overlap.
// Strides of dimensions of size 1 mean nothing.
inline int64_t apartOf(int64_t side, int64_t inner, int64_t apart, int64_t outer) {
  if (side != 1 && inner != 1) return 0;
  return outer == 1 ? inner : apart >= inner ? apart : 0;
}

// A factor as a matrix by columns: [lines, k] on the left, [k, lines] on the right.
struct LibraryFactor {
  const void* data;
  int operation;
  int64_t apart, member;

  LibraryFactor(const Factor& x, const Problem& problem, int64_t lines, bool left) : data(x.data) {
    const int64_t along = apartOf(x.line, lines, x.k, problem.k);
    operation = (along != 0) == left ? Cublas::kAsItLies : Cublas::kTransposed;
    apart = along ? along : apartOf(x.k, problem.k, x.line, lines);
    member = problem.batch1 == 1 ? x.batch2 : x.batch1;
  }
};

// Only sums as they are, scaled and added to what is there.
inline bool isPlain(const Epilogue& e) {
  if (e.finish == kActivate) return !e.activate && !e.bias.data && !e.residual.data && !e.preactivation.data;
  return e.finish == kScale || e.finish == kAdd;
}

// Whether a product of one term is one that cuBLAS computes, and then computes it.
inline bool multiplyByLibrary(const Context& cx, const Problem& x, int64_t precision) {
  const Cublas& cublas = *cx.cublas;
  const Epilogue& e = x.epilogue;
  const DType dtype = x.a[0].dtype;
  const bool exact = dtype == kFloat32 && precision == 0 && e.y.dtype == kFloat32;
  if (x.b[0].dtype != dtype || !(exact || dtype == kBfloat16) || !isPlain(e)) return false;
  if (x.k == 0 || (x.batch1 != 1 && x.batch2 != 1)) return false;
  // The transpose of a result by rows is one by columns: its left factor is the right one.
  const int64_t byRows = apartOf(e.column, x.n, e.row, x.m);
  const int64_t apart = byRows ? byRows : apartOf(e.row, x.m, e.column, x.n);
  const bool turned = byRows != 0;
  const int64_t m = turned ? x.n : x.m, n = turned ? x.m : x.n, count = x.batch1 * x.batch2;
  const LibraryFactor a(turned ? x.b[0] : x.a[0], x, m, true), b(turned ? x.a[0] : x.b[0], x, n, false);
  for (const int64_t size : {apart, a.apart, b.apart}) {
    if (size == 0) return false;
  }
  for (const int64_t size : {m, n, x.k, count, apart, a.apart, b.apart}) {
    if (size > INT32_MAX) return false;
  }
  const auto number = [](int64_t size) { return static_cast<int>(size); };
  const auto type = [](DType of) { return of == kBfloat16 ? Cublas::kRealBfloat16 : Cublas::kReal32; };
  const float beta = e.finish == kAdd ? 1 : 0;
  cublas.require(cx, "cublasGemmStridedBatchedEx", [&] {
    return cublas.cublasGemmStridedBatchedEx(
        cublas.handle, a.operation, b.operation, number(m), number(n), number(x.k), &e.alpha, a.data, type(dtype),
        number(a.apart), a.member, b.data, type(dtype), number(b.apart), b.member, &beta, e.y.data, type(e.y.dtype),
        number(apart), x.batch1 == 1 ? e.batch2 : e.batch1, number(count), Cublas::kSumsInFloat32,
        Cublas::kAnyAlgorithm);
  });
  return true;
}

}  // namespace fw::cuda::gemm
