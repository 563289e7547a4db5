// The choice of tiles for a product, and its launch.
#pragma once
#include "multiply.cuh"
#include "pack.cuh"

namespace fw::cuda::gemm {

// Enough blocks to keep any card busy.
constexpr int64_t kBusy = 128;

// Stretches of a sum: few columns need several for that, as far as each is long enough to be worth it. So do sums that
// are long beside the columns, as those of a weight's gradient: tiles of whole ones would leave a part of the card without
// work, and each doubling gains half of what the one before has gained, and costs twice as much. Rows do not count (see
// multiply.cuh).
template <class Products>
int64_t partsOf(int64_t n, int64_t k) {
  int64_t parts = 1;
  const auto gains = [&] { return parts * n < Products::kColumns * kBusy || 6 * parts * parts * n < k; };
  while (parts < 8 && k >= Products::kStretch * parts && gains()) parts *= 2;
  return parts;
}

template <class Shape>
int64_t tilesOf(const Problem& x) {
  return x.batch1 * x.batch2 * divideUp(x.m, Shape::kM) * divideUp(x.n, Shape::kN);
}
inline int64_t sizeOf(const Problem& x) { return x.batch1 * x.batch2 * x.m * x.n; }

// Whether the stretches of a tile are shared out: where there are few tiles, or where a block could not add them up.
template <class Shape>
bool sharesParts(const Problem& x, int64_t parts) {
  return parts > 1 && (tilesOf<Shape>(x) < kBusy || !Shape::kAddsStretches);
}

template <int kWidth>
void addParts(const Context& cx, const Problem& x, int64_t parts, const Out& partials) {
  using Kernel = AddParts<kWidth>;
  launch<Kernel>(cx, divideUp(sizeOf(x), kWidth * Kernel::kThreads), {x, parts, {partials.data}});
}

template <class Products, class Shape, Layout aLayout, Layout bLayout>
void launchTiles(const Context& cx, const Problem& x, int64_t most) {
  using Kernel = Multiply<Products, Shape, aLayout, bLayout>;
  const int64_t steps = divideUp(x.k, Kernel::A::kDepth), all = x.terms * steps;
  const int64_t stretch = all == 0 ? 1 : divideUp(all, most), parts = divideUp(all, stretch);
  typename Kernel::Args args = {x, static_cast<int>(steps), 1, static_cast<int>(stretch), 0, x.epilogue.isWide(x.n)};
  if (!sharesParts<Shape>(x, parts)) return launch<Kernel, kLargeSharedBytes>(cx, tilesOf<Shape>(x), args);
  const int64_t size = sizeOf(x);
  const bool isWide = args.isWide;
  Epilogue& each = args.x.epilogue = {};
  each.y.data = cx.scratch_of<float>(parts * size);
  each.row = x.n, each.batch2 = x.m * x.n, each.batch1 = x.batch2 * each.batch2;
  args.parts = static_cast<int>(parts), args.apart = size, args.isWide = each.isWide(x.n);
  launch<Kernel, kLargeSharedBytes>(cx, tilesOf<Shape>(x) * parts, args);
  if (isWide) addParts<kWide>(cx, x, parts, each.y);
  else addParts<1>(cx, x, parts, each.y);
}

template <class Products, class Shape>
void launchShape(const Context& cx, const Problem& x, int64_t parts) {
  const bool aTurned = x.a[0].layout() == kAlongLines, bTurned = x.b[0].layout() == kAlongLines;
  if (aTurned && bTurned) launchTiles<Products, Shape, kAlongLines, kAlongLines>(cx, x, parts);
  else if (aTurned) launchTiles<Products, Shape, kAlongLines, kAlongK>(cx, x, parts);
  else if (bTurned) launchTiles<Products, Shape, kAlongK, kAlongLines>(cx, x, parts);
  else launchTiles<Products, Shape, kAlongK, kAlongK>(cx, x, parts);
}

// One way to compute a product.
template <class P, class S>
struct Way {
  using Products = P;
  using Shape = S;
};

// What the multiprocessor with the most blocks would take, in passes for sixteen terms of a sum; INT64_MAX where the
// card lacks something, or where what is to be added up would take too much of its memory.
template <class Products, class Shape>
int64_t costOf(const Context& cx, const Problem& x, int64_t parts) {
  using Kernel = Multiply<Products, Shape, kAlongK, kAlongK>;
  const int64_t partials = parts * sizeOf(x) * static_cast<int64_t>(sizeof(float));
  if (!Products::isFor(cx)) return INT64_MAX;
  if (static_cast<int64_t>(sizeof(typename Kernel::Shared)) > cx.most_shared) return INT64_MAX;
  if (parts > 1 && !Shape::kAddsStretches && partials > cx.most_scratch) return INT64_MAX;
  const int64_t shares = sharesParts<Shape>(x, parts) ? parts : 1;
  return divideUp(divideUp(tilesOf<Shape>(x) * shares, cx.multiprocessors) * Shape::cost(Products::kTogether), shares);
}

// Factors of several terms lie alike. Of ways that cost the same the first is taken.
template <class First, class... Ways>
void launchProduct(const Context& cx, Problem x) {
  using Products = typename First::Products;
  for (int i = 0; i < x.terms; i++) {
    x.a[i] = packed<typename Products::Element>(cx, x.a[i], x, x.m);
    x.b[i] = packed<typename Products::Element>(cx, x.b[i], x, x.n);
  }
  const int64_t parts = partsOf<Products>(x.n, x.terms * x.k);
  int64_t least = INT64_MAX;
  void (*best)(const Context&, const Problem&, int64_t) = nullptr;
  const auto consider = [&](auto way) {
    using Is = decltype(way);
    const int64_t cost = costOf<typename Is::Products, typename Is::Shape>(cx, x, parts);
    if (cost < least) least = cost, best = &launchShape<typename Is::Products, typename Is::Shape>;
  };
  consider(First{}), (consider(Ways{}), ...);
  best(cx, x, parts);
}

}  // namespace fw::cuda::gemm
