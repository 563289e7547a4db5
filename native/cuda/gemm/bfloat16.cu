// Products of bfloat16 with float32 sums.
#include "launch.cuh"

namespace fw::cuda::gemm {

template <>
void multiplyAs<Bfloat16Products>(const Context& cx, Problem problem) {
  launchProduct<Bfloat16Products, Shape<128, 256, 64, 64, 3>, Shape<128, 128, 64, 64, 3>, Shape<64, 64, 32, 32, 3>,
                Shape<16, 16, 16, 16, 12>>(cx, problem);
}

}  // namespace fw::cuda::gemm
