// y = activation(x W^T + bias) + residual.
#include "problem.cuh"

namespace fw::cuda {

void linear(const Context& cx, const linearArgs& x) {
  require_known("linear", "activation", x.activation, kSiluActivation + 1);
  gemm::Problem p;
  p.a[0] = gemm::rowsOf(x.x, x.k), p.b[0] = gemm::rowsOf(x.weight, x.k);
  p.m = x.rows, p.n = x.n, p.k = x.k;
  gemm::Epilogue& e = p.epilogue;
  e.finish = gemm::kActivate, e.y = x.y, e.row = x.n;
  e.bias = x.bias, e.residual = x.residual, e.preactivation = x.preactivation;
  e.activate = x.activation == kSiluActivation;
  gemm::multiply(cx, p, x.precision);
}

}  // namespace fw::cuda
