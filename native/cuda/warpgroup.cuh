// The device layer of compute capability 9.0 alone: products of a warpgroup, four warps whose first is a multiple of four.
// As in tile.cuh, of which this is a part, PTX stands only here.
//
//   warpgroupHold(c), warpgroupFence();        // after the last change of the sums
//   warpgroupMultiply<false, false>(c, a, b);  // c += a b for 64 rows, 8 n columns and sixteen terms; any number of these
//   warpgroupMultiply<false>(c, registers, b); // the same with the left factor in registers
//   warpgroupCommit();
//   warpgroupWait<0>(), warpgroupHold(c);      // the sums are there, and the factors may change, but for the last 0 groups
//
// Warp w of the four has the rows from 16 w on; its sums lie as those of mmaBfloat16, 8 columns after each other. Factors
// are of bfloat16 in shared memory, in rows of 128 bytes, eight of which begin at a multiple of 1024 bytes and have their
// pieces of 16 bytes exchanged by the number of the row. A row is of a line, the left factor's row or the right one's
// column, and holds its terms; or, `AlongLines`, of a term. A left factor in registers lies as that of mmaBfloat16. Products
// that are under way have the same sums only if they have as many columns.
#pragma once
#include "bulk.cuh"

#ifdef __CUDACC__
namespace fw::cuda {

// A factor whose first row begins there; its eights of rows lie `stride` bytes apart. Where rows are of terms, lines beyond
// the first 64 lie `leading` bytes further on. Sixteen terms after others are 32 bytes further on, or two eights of rows.
FW_DEVICE uint64_t matrixDescriptor(const void* data, int leading, int stride) {
  const auto field = [](uint32_t bytes) { return static_cast<uint64_t>(bytes >> 4 & 0x3fff); };
  constexpr uint64_t kSwizzled = uint64_t{1} << 62;
  return field(sharedAddress(data)) | field(static_cast<uint32_t>(leading)) << 16 |
         field(static_cast<uint32_t>(stride)) << 32 | kSwizzled;
}

FW_DEVICE void warpgroupFence() { FW_HOPPER("wgmma.fence.sync.aligned;" ::: "memory"); }
FW_DEVICE void warpgroupCommit() { FW_HOPPER("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// The compiler knows nothing of sums that are under way: it leaves these on their side of the fence, or of the wait.
template <int n>
FW_DEVICE void warpgroupHold(float (&c)[n][4]) {
  FW_UNROLL for (int i = 0; i < n; i++) {
    asm volatile("" : "+f"(c[i][0]), "+f"(c[i][1]), "+f"(c[i][2]), "+f"(c[i][3])::"memory");
  }
}
template <int n>
FW_DEVICE void warpgroupWait() {
  FW_HOPPER("wgmma.wait_group.sync.aligned %0;" ::"n"(n) : "memory");
}

#define FW_SUMS(i) "+f"(c[i][0]), "+f"(c[i][1]), "+f"(c[i][2]), "+f"(c[i][3])
template <bool aAlongLines, bool bAlongLines>
FW_DEVICE void warpgroupMultiply(float (&c)[8][4], uint64_t a, uint64_t b) {
  FW_HOPPER(
      "{ .reg .pred p; setp.eq.u32 p, 0, 0; wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, "
      "%23, %24, %25, %26, %27, %28, %29, %30, %31}, "
      "%32, %33, p, 1, 1, %34, %35; }"
      : FW_SUMS(0), FW_SUMS(1), FW_SUMS(2), FW_SUMS(3), FW_SUMS(4), FW_SUMS(5), FW_SUMS(6), FW_SUMS(7)
      : "l"(a), "l"(b), "n"(aAlongLines), "n"(bAlongLines));
}
template <bool aAlongLines, bool bAlongLines>
FW_DEVICE void warpgroupMultiply(float (&c)[32][4], uint64_t a, uint64_t b) {
  FW_HOPPER(
      "{ .reg .pred p; setp.eq.u32 p, 0, 0; wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, "
      "%23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, "
      "%44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, %64, "
      "%65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83, %84, %85, "
      "%86, %87, %88, %89, %90, %91, %92, %93, %94, %95, %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, "
      "%106, %107, %108, %109, %110, %111, %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, "
      "%124, %125, %126, %127}, "
      "%128, %129, p, 1, 1, %130, %131; }"
      : FW_SUMS(0), FW_SUMS(1), FW_SUMS(2), FW_SUMS(3), FW_SUMS(4), FW_SUMS(5), FW_SUMS(6), FW_SUMS(7), FW_SUMS(8),
        FW_SUMS(9), FW_SUMS(10), FW_SUMS(11), FW_SUMS(12), FW_SUMS(13), FW_SUMS(14), FW_SUMS(15), FW_SUMS(16),
        FW_SUMS(17), FW_SUMS(18), FW_SUMS(19), FW_SUMS(20), FW_SUMS(21), FW_SUMS(22), FW_SUMS(23), FW_SUMS(24),
        FW_SUMS(25), FW_SUMS(26), FW_SUMS(27), FW_SUMS(28), FW_SUMS(29), FW_SUMS(30), FW_SUMS(31)
      : "l"(a), "l"(b), "n"(aAlongLines), "n"(bAlongLines));
}

#define FW_LEFT "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(bAlongLines)
template <bool bAlongLines>
FW_DEVICE void warpgroupMultiply(float (&c)[4][4], const uint32_t (&a)[4], uint64_t b) {
  FW_HOPPER(
      "{ .reg .pred p; setp.eq.u32 p, 0, 0; wgmma.mma_async.sync.aligned.m64n32k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15}, "
      "{%16, %17, %18, %19}, %20, p, 1, 1, %21; }"
      : FW_SUMS(0), FW_SUMS(1), FW_SUMS(2), FW_SUMS(3)
      : FW_LEFT);
}
template <bool bAlongLines>
FW_DEVICE void warpgroupMultiply(float (&c)[8][4], const uint32_t (&a)[4], uint64_t b) {
  FW_HOPPER(
      "{ .reg .pred p; setp.eq.u32 p, 0, 0; wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, "
      "%23, %24, %25, %26, %27, %28, %29, %30, %31}, "
      "{%32, %33, %34, %35}, %36, p, 1, 1, %37; }"
      : FW_SUMS(0), FW_SUMS(1), FW_SUMS(2), FW_SUMS(3), FW_SUMS(4), FW_SUMS(5), FW_SUMS(6), FW_SUMS(7)
      : FW_LEFT);
}
template <bool bAlongLines>
FW_DEVICE void warpgroupMultiply(float (&c)[16][4], const uint32_t (&a)[4], uint64_t b) {
  FW_HOPPER(
      "{ .reg .pred p; setp.eq.u32 p, 0, 0; wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, "
      "%23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, "
      "%44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
      "{%64, %65, %66, %67}, %68, p, 1, 1, %69; }"
      : FW_SUMS(0), FW_SUMS(1), FW_SUMS(2), FW_SUMS(3), FW_SUMS(4), FW_SUMS(5), FW_SUMS(6), FW_SUMS(7), FW_SUMS(8),
        FW_SUMS(9), FW_SUMS(10), FW_SUMS(11), FW_SUMS(12), FW_SUMS(13), FW_SUMS(14), FW_SUMS(15)
      : FW_LEFT);
}
#undef FW_LEFT
#undef FW_SUMS

}  // namespace fw::cuda
#else
#include <emulation/warpgroup.h>
#endif
