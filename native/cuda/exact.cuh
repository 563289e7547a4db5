// Sums and products together with their rounding errors (Knuth's TwoSum; TwoProduct by a fused multiply-add). Every
// operation is an intrinsic that the compiler never contracts: a product that it fused with one of the sums below, and not
// with the others, would be counted with its error here and without it there.
#pragma once
#include "device.h"

namespace fw::cuda {

// The exact result is value + error, unless something overflows.
struct Exact {
  float value, error;
};

FW_DEVICE Exact two_sum(float a, float b) {
  const float sum = __fadd_rn(a, b), taken = __fsub_rn(sum, a);
  return {sum, __fadd_rn(__fsub_rn(a, __fsub_rn(sum, taken)), __fsub_rn(b, taken))};
}
FW_DEVICE Exact two_product(float a, float b) {
  const float product = __fmul_rn(a, b);
  return {product, __fmaf_rn(a, b, -product)};
}

// A sum in float32 together with what its roundings have lost: as good as one in float64.
struct Sum {
  float value = 0, rest = 0;

  FW_DEVICE void add(float x) { add(x, 0); }
  FW_DEVICE void add(const Sum& x) { add(x.value, x.rest); }
  FW_DEVICE void add_product(float a, float b) {
    const Exact product = two_product(a, b);
    add(product.value, product.error);
  }
  FW_DEVICE void multiply(const Sum& x) {
    const Exact product = two_product(value, x.value);
    rest = __fmaf_rn(value, x.rest, __fmaf_rn(rest, x.value, product.error));
    value = product.value;
  }
  // Beside an infinite sum the rest is NaN.
  FW_DEVICE float total() const { return rest == rest ? __fadd_rn(value, rest) : value; }
  // The logarithm, exact for sums just above 1 as well.
  FW_DEVICE float log() const { return rest == rest ? logf(value) + rest / value : logf(value); }

 private:
  FW_DEVICE void add(float x, float error) {
    const Exact sum = two_sum(value, x);
    value = sum.value;
    rest = __fadd_rn(rest, __fadd_rn(sum.error, error));
  }
};

}  // namespace fw::cuda
