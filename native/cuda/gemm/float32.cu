// Products of float32.
#include "launch.cuh"

namespace fw::cuda::gemm {

template <>
void multiplyAs<Float32Products>(const Context& cx, Problem problem) {
  using Large = Way<Float32Products, Shape<128, 64, 32, 32, 2>>;
  using Small = Way<Float32Products, Shape<64, 64, 32, 32, 3>>;
  using Few = Way<Float32Products, Shape<16, 32, 16, 16, 6>>;
  launchProduct<Large, Small, Few>(cx, problem);
}

}  // namespace fw::cuda::gemm
