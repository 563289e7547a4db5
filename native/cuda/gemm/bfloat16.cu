// Products of bfloat16 with float32 sums.
#include "launch.cuh"
#include "warpgroups.cuh"

namespace fw::cuda::gemm {

template <>
void multiplyAs<Bfloat16Products>(const Context& cx, Problem problem) {
  using Three = Way<WarpgroupProducts, Shape<192, 256, 16, 256, 4>>;
  using Two = Way<WarpgroupProducts, Shape<128, 256, 16, 256, 4>>;
  using Large = Way<Bfloat16Products, Shape<128, 256, 64, 64, 3>>;
  using Medium = Way<Bfloat16Products, Shape<128, 128, 64, 64, 3>>;
  using Small = Way<Bfloat16Products, Shape<64, 64, 32, 32, 3>>;
  using Few = Way<Bfloat16Products, Shape<16, 16, 16, 16, 12>>;
  launchProduct<Two, Three, Large, Medium, Small, Few>(cx, problem);
}

}  // namespace fw::cuda::gemm
