// Kernels whose counts are known. Of a warp of `rounds`, with m = n / d rounds: m loads of 16 bytes, m products on tensor cores and
// m divisions; lanes part once a round; a store into shared memory in two passes, a load in one, a store of 4 bytes. `another`
// has one division more per round, `indexing` an array of its own that it indexes. A warpgroup of `grouped` multiplies
// 64 x 64 x 16 twice in each of as many rounds, and waits for it in the next.
#include <cstdint>

struct Args {
  const float4* x;
  float* y;
  long long n, d;
};

template <int divisions, bool indexes>
__device__ void run(const Args& args) {
  extern __shared__ float memory[];
  const long long rounds = args.n / args.d;
  float c[4] = {}, kept[8];
  int place = threadIdx.x;
#pragma unroll 1
  for (int i = 0; i < rounds; i++) {
    const float4 v = args.x[i * 32 + threadIdx.x % 32];
    const uint32_t a[4] = {__float_as_uint(v.x), __float_as_uint(v.y), __float_as_uint(v.z), __float_as_uint(v.w)};
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%4, %5}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]));
    for (int k = 0; k < divisions; k++) place += place / (static_cast<int>(args.d) + i + k);
    if (threadIdx.x % 2) asm volatile("membar.cta;");
    if (indexes) kept[place % 8] = c[0];
  }
  memory[2 * threadIdx.x] = c[0] + c[1] + c[2] + c[3] + (indexes ? kept[place % 7] : 0);
  __syncthreads();
  args.y[blockIdx.x * blockDim.x + threadIdx.x] = memory[threadIdx.x ^ 1] + place;
}

__device__ void multiply(float (&c)[32], uint64_t factor) {
#define SUMS(i) "+f"(c[i]), "+f"(c[i + 1]), "+f"(c[i + 2]), "+f"(c[i + 3])
  asm volatile(
      "{ .reg .pred p; setp.eq.u32 p, 0, 0; wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {%0, %1, %2, %3, %4, %5, "
      "%6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, "
      "%30, %31}, %32, %32, p, 1, 1, 0, 0; }"
      : SUMS(0), SUMS(4), SUMS(8), SUMS(12), SUMS(16), SUMS(20), SUMS(24), SUMS(28)
      : "l"(factor));
#undef SUMS
}

extern "C" {
__global__ void grouped(const __grid_constant__ Args args) {
  const long long rounds = args.n / args.d;
  const uint64_t factor = uint64_t{1} << 62 | uint64_t{64} << 32 | 64;
  float c[32] = {};
  // Where there might be none the compiler would wait for each product.
  int i = 0;
#pragma unroll 1
  do {
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
    multiply(c, factor);
    multiply(c, factor);
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
    asm volatile("wgmma.wait_group.sync.aligned 1;" ::: "memory");
  } while (++i < rounds);
  asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
  float sum = 0;
  for (const float x : c) sum += x;
  args.y[threadIdx.x] = sum;
}
__global__ void rounds(const __grid_constant__ Args args) { run<1, false>(args); }
__global__ void another(const __grid_constant__ Args args) { run<2, false>(args); }
__global__ void indexing(const __grid_constant__ Args args) { run<1, true>(args); }
}
