// Batched matrix products over strided operands.
#include "library.cuh"
#include "sums.cuh"

namespace fw::cuda {

void gemm::multiply(const Context& cx, const Problem& problem, int64_t precision) {
  require_known("product", "precision", precision, 2);
  if (problem.batch1 <= 0 || problem.batch2 <= 0 || problem.m <= 0 || problem.n <= 0) return;
  if (cx.cublas) {
    if (problem.terms == 1 && multiplyByLibrary(cx, problem, precision)) return;
    // Terms by themselves, so that each may go either way.
    if (problem.terms > 1 && (problem.epilogue.finish == kScale || problem.epilogue.finish == kAdd)) {
      Problem term = problem;
      term.terms = 1;
      for (int i = 0; i < problem.terms; i++) {
        term.a[0] = problem.a[i], term.b[0] = problem.b[i];
        if (i > 0) term.epilogue.finish = kAdd;
        multiply(cx, term, precision);
      }
      return;
    }
  }
  bool narrow = true;
  for (int i = 0; i < problem.terms; i++) {
    narrow = narrow && problem.a[i].dtype == kBfloat16 && problem.b[i].dtype == kBfloat16;
  }
  if (narrow || precision == 1) multiplyAs<Bfloat16Products>(cx, problem);
  else multiplyAs<Float32Products>(cx, problem);
}

void matmul(const Context& cx, const matmulArgs& x) {
  gemm::Problem p;
  const int64_t *a = x.aStrides.d, *b = x.bStrides.d, *c = x.cStrides.d;
  p.a[0] = {x.a.data, x.a.dtype, a[0], a[1], a[2], a[3]};
  p.b[0] = {x.b.data, x.b.dtype, b[0], b[1], b[3], b[2]};
  p.batch1 = x.batch1, p.batch2 = x.batch2, p.m = x.m, p.n = x.n, p.k = x.k;
  gemm::Epilogue& e = p.epilogue;
  e.y = x.c, e.batch1 = c[0], e.batch2 = c[1], e.row = c[2], e.column = c[3];
  e.alpha = static_cast<float>(x.alpha), e.finish = x.accumulate != 0 ? gemm::kAdd : gemm::kScale;
  gemm::multiply(cx, p, x.precision);
}

}  // namespace fw::cuda
