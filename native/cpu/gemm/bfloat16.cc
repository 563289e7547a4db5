// Products of bfloat16 pairs with float32 sums (AVX512_BF16: vdpbf16ps), at twice the rate of float32 ones. The rest of
// the instruction set need not have them, so this source asks the compiler for them itself, and the processor at run
// time.
#if defined(__AVX512F__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC target("avx512bf16")
#define FW_BFLOAT16_PRODUCTS 1
#endif
#include "products.h"

#ifdef FW_BFLOAT16_PRODUCTS
#include <immintrin.h>
#endif

FW_NAMESPACE_BEGIN

#ifdef FW_BFLOAT16_PRODUCTS

namespace {

// The bits of two vectors rounded to bfloat16 and interleaved: lane i holds low[i] below high[i].
FW_INLINE Vec pairs_of(Vec low, Vec high) {
  const __m512i both = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(reinterpret_cast<__m512>(high), reinterpret_cast<__m512>(low)));
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                                         21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return reinterpret_cast<Vec>(_mm512_permutexvar_epi16(order, both));
}
// The same for 32 numbers that lie in a row: lane i holds the pair 2 i.
FW_INLINE Vec pairs_in(Vec first, Vec second) {
  return reinterpret_cast<Vec>(_mm512_cvtne2ps_pbh(reinterpret_cast<__m512>(second), reinterpret_cast<__m512>(first)));
}

FW_INLINE Vec load_up_to(const float* p, int64_t n) { return n <= 0 ? Vec{} : load_first(p, n); }

// out[s * stride + r] = the pair x[r, 2 s], x[r, 2 s + 1], for kLanes rows r that lie `row` apart and are contiguous.
FW_INLINE void turn_pairs(const float* x, int64_t row, int64_t rows, int64_t k, float* out, int64_t stride) {
  for (int64_t p = 0; p < k; p += 2 * kLanes) {
    Vec lines[kLanes], columns[kLanes];
    for (int i = 0; i < kLanes; i++)
      lines[i] = i < rows ? pairs_in(load_up_to(x + i * row + p, k - p), load_up_to(x + i * row + p + kLanes, k - p - kLanes))
                          : Vec{};
    transpose_block(reinterpret_cast<const float*>(lines), kLanes, columns);
    const int64_t steps = (k - p + 1) / 2;
    for (int i = 0; i < kLanes && i < steps; i++) store(out + (p / 2 + i) * stride, columns[i]);
  }
}

// out[s * stride + r] = the pair x[2 s, r], x[2 s + 1, r] for r < n of contiguous columns; zeros up to whole vectors.
FW_INLINE void zip_pairs(const float* x, int64_t row, int64_t n, int64_t k, float* out, int64_t stride) {
  for (int64_t p = 0; p < k; p += 2)
    for (int64_t r = 0; r < n; r += kLanes) {
      const Vec low = load_up_to(x + p * row + r, n - r);
      const Vec high = p + 1 < k ? load_up_to(x + (p + 1) * row + r, n - r) : Vec{};
      store(out + p / 2 * stride + r, pairs_of(low, high));
    }
}

struct Bfloat16Products {
  static constexpr int64_t kPerStep = 2;
  FW_INLINE Vec multiply_add(Vec x, Vec y, Vec sum) {
    return reinterpret_cast<Vec>(_mm512_dpbf16_ps(reinterpret_cast<__m512>(sum), reinterpret_cast<__m512bh>(x),
                                                  reinterpret_cast<__m512bh>(y)));
  }

  // Panel rows hold pairs of k.
  static void pack(Matrix b, int64_t k, int64_t n, int64_t width, float* panel) {
    if (b.col == 1) return zip_pairs(b.data, b.row, n, k, panel, width);
    for (int64_t j = 0; j < width; j += kLanes) turn_pairs(b.at(0, j), b.col, n - j, k, panel + j, width);
  }

  static Left left(Matrix a, int64_t m, int64_t k, float* scratch) {
    const int64_t steps = (k + 1) / 2;
    if (a.col == 1) {
      for (int64_t r = 0; r < m; r++)
        for (int64_t p = 0; p < k; p += 2 * kLanes) {
          const float* x = a.at(r, p);
          store_first(scratch + r * steps + p / 2, pairs_in(load_up_to(x, k - p), load_up_to(x + kLanes, k - p - kLanes)),
                      steps - p / 2);
        }
      return {scratch, steps, 1, 0};
    }
    const int64_t rows = (m + kLanes - 1) / kLanes * kLanes;
    zip_pairs(a.data, a.col, m, k, scratch, rows);
    return {scratch, 1, rows, 0};
  }
};

}  // namespace

const Gemm bfloat16_gemm = {pack_panels<Bfloat16Products>, multiply_panels<Bfloat16Products>};
bool has_bfloat16_products() {
  static const bool has = __builtin_cpu_supports("avx512bf16");
  return has;
}

#else

const Gemm bfloat16_gemm = {};
bool has_bfloat16_products() { return false; }

#endif

FW_NAMESPACE_END
