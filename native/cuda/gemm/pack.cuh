// Factors as the kernel of the products takes them: of its dtype, in chunks that are aligned and whole.
#pragma once
#include "../flat.cuh"
#include "problem.cuh"

namespace fw::cuda::gemm {

inline int64_t divideUp(int64_t a, int64_t b) { return (a + b - 1) / b; }

FW_DEVICE void convert(float& to, float x) { to = x; }
FW_DEVICE void convert(uint16_t& to, float x) { to = toBfloat16(x); }

// A thread per chunk, zeros beyond the factor.
template <class Element>
struct Pack {
  static constexpr int kThreads = 256;
  struct alignas(16) Chunk {
    Element at[kChunk<Element>];
  };
  struct Args {
    Factor x;
    Chunk* to;  // [members, outer, perRow]
    Layout layout;
    int64_t batch2, outer, perRow, count, lines, depth;
  };
  struct Shared {};
  static FW_DEVICE void run(const Args& args, Shared&) {
    const int64_t i = block() * kThreads + thread();
    if (i >= args.count) return;
    const Division row = divide(i, args.perRow), member = divide(row.quotient, args.outer);
    const Division batch = divide(member.quotient, args.batch2);
    const int64_t inner = row.rest * kChunk<Element>, outer = member.rest;
    const int64_t base = args.x.member(batch.quotient, batch.rest);
    Chunk chunk;
    FW_UNROLL for (int j = 0; j < kChunk<Element>; j++) {
      const int64_t l = args.layout == kAlongK ? outer : inner + j, p = args.layout == kAlongK ? inner + j : outer;
      const bool valid = l < args.lines && p < args.depth;
      convert(chunk.at[j], valid ? element(args.x.data, args.x.dtype, base + l * args.x.line + p * args.x.k) : 0.0f);
    }
    args.to[i] = chunk;
  }
};

// The factor itself if it will do, else a copy in scratch memory. Strides of dimensions of size 1 mean nothing.
template <class Element>
Factor packed(const Context& cx, Factor x, const Problem& problem, int64_t lines) {
  if (problem.batch1 == 1) x.batch1 = 0;
  if (problem.batch2 == 1) x.batch2 = 0;
  if (lines == 1) x.line = 0;
  const Layout layout = x.layout();
  const int64_t side = layout == kAlongK ? x.k : x.line, apart = layout == kAlongK ? x.line : x.k;
  const int64_t inner = layout == kAlongK ? problem.k : lines, outer = layout == kAlongK ? lines : problem.k;
  const DType dtype = sizeof(Element) == sizeof(float) ? kFloat32 : kBfloat16;
  const auto whole = [](int64_t n) { return n % kChunk<Element> == 0; };
  const bool aligned = whole(inner) && whole(apart) && whole(x.batch1) && whole(x.batch2) &&
                       reinterpret_cast<uintptr_t>(x.data) % 16 == 0;
  if (x.dtype == dtype && side == 1 && aligned && apart < kMostApart) return x;
  using Kernel = Pack<Element>;
  const int64_t batch1 = x.batch1 == 0 ? 1 : problem.batch1, batch2 = x.batch2 == 0 ? 1 : problem.batch2;
  const int64_t perRow = divideUp(inner, kChunk<Element>), count = batch1 * batch2 * outer * perRow;
  auto* to = cx.scratch_of<typename Kernel::Chunk>(count);
  launch<Kernel>(cx, divideUp(count, Kernel::kThreads),
                 {x, to, layout, batch2, outer, perRow, count, lines, problem.k});
  const int64_t row = perRow * kChunk<Element>, member = outer * row;
  return {to, dtype, x.batch1 == 0 ? 0 : batch2 * member, x.batch2 == 0 ? 0 : member, layout == kAlongK ? row : 1,
          layout == kAlongK ? 1 : row};
}

}  // namespace fw::cuda::gemm
