// Products of float32.
#include "launch.cuh"

namespace fw::cuda::gemm {

template <>
void multiplyAs<Float32Products>(const Context& cx, Problem problem) {
  launchProduct<Float32Products, Shape<128, 64, 32, 32, 2>, Shape<64, 64, 32, 32, 3>, Shape<16, 32, 16, 16, 6>>(
      cx, problem);
}

}  // namespace fw::cuda::gemm
