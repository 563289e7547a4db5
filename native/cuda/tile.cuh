// The device layer: the place of a thread, collectives of a warp, fragments of the tensor cores, copies, barriers. PTX
// stands only here; its emulation (test/emulation) has the same names, and finds missing synchronisation by them: every
// synchronising primitive is a site, known by file and line.
//
// What orders memory: `barrier` among the threads of a block, `warpSync` among those of a warp. Shuffles, loadMatrix and
// mma make the lanes of a warp meet, but order nothing.
#pragma once
#include <math.h>

#include "device.h"

#ifdef __CUDACC__
#include <cuda_bf16.h>

namespace fw::cuda {

FW_DEVICE int thread() { return static_cast<int>(threadIdx.x); }
FW_DEVICE int64_t block() { return blockIdx.x; }
FW_DEVICE int64_t blocks() { return gridDim.x; }

// Ends the launch, and the context with it: for what cannot be, and must not pass for a result.
FW_DEVICE void trap() { __trap(); }

FW_DEVICE void barrier() { __syncthreads(); }
FW_DEVICE void warpSync() { __syncwarp(); }

// The value of lane `from`, or of the lane whose number differs by `mask`.
FW_DEVICE float shuffle(float x, int from) { return __shfl_sync(~0u, x, from); }
FW_DEVICE float shuffleXor(float x, int mask) { return __shfl_xor_sync(~0u, x, mask); }

// Four 8 x 8 matrices of 16 bits; lane l gives the address of row l % 8 of matrix l / 8 (16 bytes, aligned) and gets of
// matrix i the elements (l / 4, 2 (l % 4)), (l / 4, 2 (l % 4) + 1) in r[i]; transposed, those of the transpose.
FW_DEVICE void loadMatrix(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
}
FW_DEVICE void loadMatrixT(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
}

// c += a b on tensor cores, m16n8k16 of bfloat16 and m16n8k8 of TF32. With g = lane / 4 and t = lane % 4:
//   c[0..3] = C(g, 2t), C(g, 2t + 1), C(g + 8, 2t), C(g + 8, 2t + 1)
//   bfloat16, two to a register, the first in the lower half:
//   a[0..3] = A(g, 2t..), A(g + 8, 2t..), A(g, 2t + 8..), A(g + 8, 2t + 8..)    b[0..1] = B(2t.., g), B(2t + 8.., g)
//   TF32: a[0..3] = A(g, t), A(g + 8, t), A(g, t + 4), A(g + 8, t + 4)          b[0..1] = B(t, g), B(t + 4, g)
FW_DEVICE void mmaBfloat16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
               "{%0, %1, %2, %3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
FW_DEVICE void mmaTf32(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
               "{%0, %1, %2, %3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Rounded to nearest, ties away from zero, in the upper 19 bits.
FW_DEVICE uint32_t toTf32(float x) {
  uint32_t y;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x));
  return y;
}
FW_DEVICE float fromBits(uint32_t x) { return __uint_as_float(x); }
// x, without the compiler knowing so: what follows from it is computed once more where it is needed, not kept in registers.
FW_DEVICE int again(int x) {
  asm volatile("" : "+r"(x));
  return x;
}
FW_DEVICE uint32_t toBits(float x) { return __float_as_uint(x); }
// Rounded to nearest even; NaN stays NaN.
FW_DEVICE uint16_t toBfloat16(float x) { return __bfloat16_as_ushort(__float2bfloat16_rn(x)); }
FW_DEVICE float fromBfloat16(uint16_t x) { return __uint_as_float(static_cast<uint32_t>(x) << 16); }
// Two of them, the first in the lower half.
FW_DEVICE uint32_t toBfloat16Pair(float x, float y) {
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %2, %1;" : "=r"(pair) : "f"(x), "f"(y));
  return pair;
}

// Copies 16 bytes from global to shared memory, both aligned, without waiting; zeros when not `valid`. What is
// committed in one group has arrived when at most n later groups are pending, for the thread that copied.
FW_DEVICE void copyAsync16(void* to, const void* from, bool valid = true) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(
                   static_cast<uint32_t>(__cvta_generic_to_shared(to))),
               "l"(from), "r"(valid ? 16 : 0)
               : "memory");
}
// The same of 4 bytes, aligned to as many.
FW_DEVICE void copyAsync4(void* to, const void* from) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(static_cast<uint32_t>(__cvta_generic_to_shared(to))),
               "l"(from)
               : "memory");
}
FW_DEVICE void copyCommit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int n>
FW_DEVICE void copyWait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(n) : "memory");
}

}  // namespace fw::cuda
#else
#include <emulation/tile.h>
#endif

namespace fw::cuda {

FW_DEVICE int lane() { return thread() % kWarp; }
FW_DEVICE int warp() { return thread() / kWarp; }

// Sums and extrema over the lanes of a warp, the same in every lane, always in the same order.
FW_DEVICE float warpSum(float x) {
  for (int mask = kWarp / 2; mask > 0; mask /= 2) x += shuffleXor(x, mask);
  return x;
}
FW_DEVICE float warpMax(float x) {
  for (int mask = kWarp / 2; mask > 0; mask /= 2) {
    const float y = shuffleXor(x, mask);
    x = y > x || y != y ? y : x;
  }
  return x;
}

FW_DEVICE float firstOfPair(uint32_t pair) { return fromBits(pair << 16); }
FW_DEVICE float secondOfPair(uint32_t pair) { return fromBits(pair & 0xffff0000u); }

// Two numbers, each as the sum of two of bfloat16: sixteen digits for the price of a second product.
struct PairSplit {
  uint32_t high, low;
};
FW_DEVICE PairSplit splitPair(float x, float y) {
  const uint32_t high = toBfloat16Pair(x, y);
  return {high, toBfloat16Pair(x - firstOfPair(high), y - secondOfPair(high))};
}

// float32 as the sum of two TF32 numbers: three products of the parts give a product to about 2^-22 (cuda.md 6.9). The first is
// rounded as toTf32 rounds, without its care for what is not finite: then the second is NaN. The second has at most a bit too
// much, which tensor cores leave out.
constexpr uint32_t kTf32Bits = 0xffffe000u;
struct Split {
  uint32_t high, low;
};
FW_DEVICE Split split(float x) {
  const uint32_t high = (toBits(x) + 0x1000u) & kTf32Bits;
  return {high, toBits(x - fromBits(high))};
}

// c += a b for n neighbouring 16 x 8 tiles of a warp, each in the layout of mmaTf32: a(row, k) and b(k, column) give the
// elements, k < depth, a multiple of 8. Exact to float32.
template <int n, class A, class B>
FW_DEVICE void multiply(float (&c)[n][4], int depth, const A& a, const B& b) {
  const int g = lane() / 4, t = lane() % 4;
  float small[n][4] = {};  // sums of the products with low parts, which would be rounded away beside the others
  for (int k = 0; k < depth; k += 8) {
    const Split a0 = split(a(g, k + t)), a1 = split(a(g + 8, k + t)), a2 = split(a(g, k + t + 4)),
                a3 = split(a(g + 8, k + t + 4));
    const uint32_t a_high[4] = {a0.high, a1.high, a2.high, a3.high}, a_low[4] = {a0.low, a1.low, a2.low, a3.low};
    FW_UNROLL
    for (int j = 0; j < n; j++) {
      const Split b0 = split(b(k + t, 8 * j + g)), b1 = split(b(k + t + 4, 8 * j + g));
      const uint32_t b_high[2] = {b0.high, b1.high}, b_low[2] = {b0.low, b1.low};
      mmaTf32(small[j], a_low, b_high);
      mmaTf32(small[j], a_high, b_low);
      mmaTf32(c[j], a_high, b_high);
    }
  }
  FW_UNROLL
  for (int j = 0; j < n; j++) {
    FW_UNROLL
    for (int e = 0; e < 4; e++) c[j][e] += small[j][e];
  }
}
template <class A, class B>
FW_DEVICE void multiply(float (&c)[4], int depth, const A& a, const B& b) {
  multiply(reinterpret_cast<float (&)[1][4]>(c), depth, a, b);
}

// Calls visit(row, column, element) for this lane's four elements of such a tile.
template <class Visit>
FW_DEVICE void eachElement(float (&c)[4], const Visit& visit) {
  const int g = lane() / 4, t = lane() % 4;
  visit(g, 2 * t, c[0]);
  visit(g, 2 * t + 1, c[1]);
  visit(g + 8, 2 * t, c[2]);
  visit(g + 8, 2 * t + 1, c[3]);
}

}  // namespace fw::cuda
