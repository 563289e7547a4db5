// The gated feed-forward, y = (silu(x Wg^T) * x Wu^T) Wd^T + residual (Shazeer 2020), and its backward pass.
#include "problem.cuh"

namespace fw::cuda {

namespace {

using gemm::columnsOf;
using gemm::Problem;
using gemm::rowsOf;

In asInput(const Out& x) { return {x.data, x.dtype}; }

// [rows, k] times [k, n], into `y`.
Problem product(const gemm::Factor& a, const gemm::Factor& b, int64_t m, int64_t n, int64_t k, gemm::Finish finish,
                const Out& y) {
  Problem p;
  p.a[0] = a, p.b[0] = b, p.m = m, p.n = n, p.k = k;
  p.epilogue.finish = finish, p.epilogue.y = y, p.epilogue.row = n;
  return p;
}

}  // namespace

void feedForward(const Context& cx, const feedForwardArgs& x) {
  const int64_t rows = x.rows, d = x.d, hidden = x.hidden;
  if (rows <= 0) return;
  // What the caller does not keep has the dtype that it would have, so that the result is the same.
  const auto like_x = [&] { return Out{cx.scratch(cx, rows * hidden * (x.x.dtype == kBfloat16 ? 2 : 4)), x.x.dtype}; };
  const Out gate = x.gate.data ? Out(x.gate) : like_x(), activated = like_x();
  const Problem first = product(rowsOf(x.x, d), rowsOf(x.gateWeight, d), rows, hidden, d, gemm::kScale, gate);
  gemm::multiply(cx, first, x.precision);
  Problem up = product(rowsOf(x.x, d), rowsOf(x.upWeight, d), rows, hidden, d, gemm::kGate, activated);
  up.epilogue.gate = asInput(gate), up.epilogue.up = x.up;
  gemm::multiply(cx, up, x.precision);
  Problem down = product(rowsOf(asInput(activated), hidden), rowsOf(x.downWeight, hidden), rows, d, hidden,
                         gemm::kActivate, x.y);
  down.epilogue.residual = x.residual;
  gemm::multiply(cx, down, x.precision);
}

void feedForwardBackward(const Context& cx, const feedForwardBackwardArgs& x) {
  const int64_t rows = x.rows, d = x.d, hidden = x.hidden;
  Problem down = product(rowsOf(x.dy, d), columnsOf(x.downWeight, hidden), rows, hidden, d, gemm::kGateBackward,
                         x.activated);
  down.epilogue.gate = x.gate, down.epilogue.upIn = x.up, down.epilogue.dgate = x.dgate, down.epilogue.dup = x.dup;
  gemm::multiply(cx, down, x.precision);
  if (!x.dx.data) return;
  Problem dx = product(rowsOf(asInput(x.dgate), hidden), columnsOf(x.gateWeight, d), rows, d, hidden,
                       x.accumulate != 0 ? gemm::kAdd : gemm::kScale, x.dx);
  dx.terms = 2, dx.a[1] = rowsOf(asInput(x.dup), hidden), dx.b[1] = columnsOf(x.upWeight, d);
  gemm::multiply(cx, dx, x.precision);
}

}  // namespace fw::cuda
