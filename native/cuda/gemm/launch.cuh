// The choice of tiles for a product, and its launch.
#pragma once
#include "multiply.cuh"
#include "pack.cuh"

namespace fw::cuda::gemm {

// Enough blocks to keep any card busy.
constexpr int64_t kBusy = 128;

// Stretches of a sum: few columns need several for that, as far as each is long enough to be worth it. Rows do not
// count (see multiply.cuh).
inline int64_t partsOf(int64_t n, int64_t k) {
  int64_t parts = 1;
  while (parts < 8 && parts * n < 32 * kBusy && k >= 512 * parts) parts *= 2;
  return parts;
}

template <class Products, class Shape, Layout aLayout, Layout bLayout>
void launchTiles(const Context& cx, const Problem& x) {
  using Kernel = Multiply<Products, Shape, aLayout, bLayout>;
  const int64_t steps = divideUp(x.k, Kernel::A::kDepth), all = x.terms * steps;
  const int64_t stretch = all == 0 ? 1 : divideUp(all, partsOf(x.n, x.terms * x.k)), parts = divideUp(all, stretch);
  const int64_t blocks = x.batch1 * x.batch2 * divideUp(x.m, Shape::kM) * divideUp(x.n, Shape::kN);
  typename Kernel::Args args = {x, static_cast<int>(steps), static_cast<int>(parts), static_cast<int>(stretch),
                                nullptr};
  if (parts <= 1 || blocks >= kBusy) return launch<Kernel>(cx, blocks, args);
  const int64_t size = x.batch1 * x.batch2 * x.m * x.n;
  args.partials = cx.scratch_of<float>(parts * size);
  launch<Kernel>(cx, blocks * parts, args);
  launch<AddParts>(cx, divideUp(size, AddParts::kThreads), {x, parts, args.partials});
}

template <class Products, class Shape>
void launchShape(const Context& cx, const Problem& x) {
  const bool aTurned = x.a[0].layout() == kAlongLines, bTurned = x.b[0].layout() == kAlongLines;
  if (aTurned && bTurned) launchTiles<Products, Shape, kAlongLines, kAlongLines>(cx, x);
  else if (aTurned) launchTiles<Products, Shape, kAlongLines, kAlongK>(cx, x);
  else if (bTurned) launchTiles<Products, Shape, kAlongK, kAlongLines>(cx, x);
  else launchTiles<Products, Shape, kAlongK, kAlongK>(cx, x);
}

// Factors of several terms lie alike.
template <class Products, class Large, class Small, class Few>
void launchProduct(const Context& cx, Problem x) {
  for (int i = 0; i < x.terms; i++) {
    x.a[i] = packed<typename Products::Element>(cx, x.a[i], x, x.m);
    x.b[i] = packed<typename Products::Element>(cx, x.b[i], x, x.n);
  }
  if (x.m <= Few::kM) return launchShape<Products, Few>(cx, x);
  const auto tiles = [&](int64_t m, int64_t n) { return divideUp(x.m, m) * divideUp(x.n, n); };
  const int64_t large = tiles(Large::kM, Large::kN), small = tiles(Small::kM, Small::kN);
  // Large tiles read less, but must leave little of themselves and of a card idle.
  const bool fills = 2 * large * Large::kM * Large::kN <= 3 * small * Small::kM * Small::kN;
  if (fills && large * x.batch1 * x.batch2 >= kBusy) launchShape<Products, Large>(cx, x);
  else launchShape<Products, Small>(cx, x);
}

}  // namespace fw::cuda::gemm
