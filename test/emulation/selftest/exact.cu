// native/cuda/exact.cuh in a source whose products and sums the compiler contracts.
#include "../../../native/cuda/exact.cuh"
#include "support.h"

namespace selftest {

namespace {
using namespace fw::cuda;

// Numbers with all their digits, between 1 and 2.
struct Digits {
  uint32_t state = 1;
  float next() {
    state = state * 1664525 + 1013904223;
    return 1 + static_cast<float>(state >> 8) * 0x1p-24f;
  }
};

bool contracts() {
  Digits digits;
  for (int i = 0; i < 100; i++) {
    const float a = digits.next(), b = digits.next();
    if (a * b - __fmul_rn(a, b) != 0) return true;
  }
  return false;
}
}  // namespace

void test_exact() {
  expect(contracts(), "this source is compiled with contraction, on a processor that can");
  Digits digits;
  bool sums = true, products = true;
  Sum sum;
  double expected = 0;
  for (int i = 0; i < 1000; i++) {
    const float a = digits.next(), b = digits.next(), c = digits.next();
    const double exact = static_cast<double>(a) * b, rounded = __fmul_rn(a, b);
    const Exact of_sum = two_sum(-c, a * b), of_product = two_product(a, b);
    sums = sums && static_cast<double>(of_sum.value) + of_sum.error == rounded - c;
    products = products && of_product.value == rounded &&
               static_cast<double>(of_product.value) + of_product.error == exact;
    sum.add_product(i % 2 ? -a : a, b);
    expected += i % 2 ? -exact : exact;
  }
  expect(sums, "a sum and its error are the sum of what was given, a rounded product");
  expect(products, "a product and its error are the product");
  expect(fabs(sum.value + static_cast<double>(sum.rest) - expected) < 1e-10, "a sum of products in two parts");
}

}  // namespace selftest
