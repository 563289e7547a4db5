// The kernel of all products: a block computes a tile of one from tiles of its factors, which are copied to shared
// memory some steps ahead.
//
// The order of a sum depends on its length and on the number of columns only: terms go to the tensor cores in steps of
// 128 bytes, in order, and the sums of some stretches are added, in order. So the bits of a row are the same whatever
// other rows there are, in every shape of tiles, whether or not the stretches are shared out to several blocks.
#pragma once
#include "../flat.cuh"
#include "problem.cuh"
#include "sums.cuh"

namespace fw::cuda::gemm {

// A block's tile, a warp's share of it, and the number of steps that are in shared memory at a time.
template <int m, int n, int warpM, int warpN, int stages>
struct Shape {
  static constexpr int kM = m, kN = n, kWarpM = warpM, kWarpN = warpN, kStages = stages;
  static constexpr int kThreads = m / warpM * (n / warpN) * kWarp;
};

template <class Products, class Shape, Layout aLayout, Layout bLayout>
struct Multiply {
  using Element = typename Products::Element;
  using A = Tile<Element, Shape::kM, aLayout>;
  using B = Tile<Element, Shape::kN, bLayout>;
  static constexpr int kThreads = Shape::kThreads, kStages = Shape::kStages;
  static constexpr int kM = Shape::kM, kN = Shape::kN, kRow = kN + 8;

  struct Args {
    Problem x;
    int steps, parts, stretch;  // steps of each term; stretches of so many steps
    float* partials;            // [parts, batch, m, n] for a block per stretch, else null
  };
  struct Stage {
    alignas(16) Element a[A::kSize], b[B::kSize];
  };
  union Shared {
    Stage stages[kStages];
    float sums[kM * kRow];
  };

  static FW_DEVICE void run(const Args& args, Shared& shared) {
    const Place at = placeOf(args);
    const int all = static_cast<int>(args.x.terms) * args.steps, first = args.partials ? at.part * args.stretch : 0;
    const int end = args.partials && first + args.stretch < all ? first + args.stretch : all;

    constexpr int kAcross = kN / Shape::kWarpN;
    const int row = warp() / kAcross * Shape::kWarpM, column = warp() % kAcross * Shape::kWarpN;
    Sums<Shape::kWarpM / 16, Shape::kWarpN / 8> total, part;
    total.clear(), part.clear();
    for (int s = 0; s < kStages - 1; s++) copy(args, at, first + s, end, shared.stages[s]);
    int left = args.stretch, slot = 0;
    for (int step = first; step < end; step++) {
      copyWait<kStages - 2>();
      // All have this step, and nobody reads the one before, whose place the next takes.
      barrier();
      copy(args, at, step + kStages - 1, end, shared.stages[slot == 0 ? kStages - 1 : slot - 1]);
      const Stage& stage = shared.stages[slot];
      Products::template multiply<A, B>(part, stage.a, row, stage.b, column);
      slot = slot == kStages - 1 ? 0 : slot + 1;
      if (--left == 0 || step + 1 == end) {
        total.add(part), part.clear();
        left = args.stretch;
      }
    }
    barrier();
    total.each([&](int r, int c, float sum) { shared.sums[(row + r) * kRow + column + c] = sum; });
    barrier();
    finish(args, at, shared);
  }

 private:
  struct Place {
    int i, j, part;  // the member of the batch, the stretch
    int64_t row, column;
  };

  // Blocks that run at the same time share rows and columns: eight tiles below each other, then those beside them.
  static FW_DEVICE Place placeOf(const Args& args) {
    const Problem& x = args.x;
    const int down = static_cast<int>((x.m + kM - 1) / kM), across = static_cast<int>((x.n + kN - 1) / kN);
    const int number = static_cast<int>(block()), tile = number % (down * across), rest = number / (down * across);
    const int parts = args.partials ? args.parts : 1, member = rest / parts, batch2 = static_cast<int>(x.batch2);
    const int top = tile / (8 * across) * 8, height = down - top < 8 ? down - top : 8, within = tile - top * across;
    return {member / batch2, member % batch2, rest % parts, int64_t{kM} * (top + within % height),
            int64_t{kN} * (within / height)};
  }

  // Begins to copy a step, if there is one; what it waits for is one group in any case.
  static FW_DEVICE void copy(const Args& args, const Place& at, int step, int end, Stage& stage) {
    if (step < end) {
      const Problem& x = args.x;
      const int term = step >= args.steps;
      const int64_t k = int64_t{step - term * args.steps} * A::kDepth;
      const Factor &a = x.a[term], &b = x.b[term];
      A::template copy<kThreads>(stage.a, a, a.member(at.i, at.j), at.row, x.m, k, x.k);
      B::template copy<kThreads>(stage.b, b, b.member(at.i, at.j), at.column, x.n, k, x.k);
    }
    copyCommit();
  }

  // Threads go along what lies side by side in the result. What several elements need is under way before the first
  // is waited for.
  static FW_DEVICE void finish(const Args& args, const Place& at, const Shared& shared) {
    const Problem& x = args.x;
    const bool turned = !args.partials && x.epilogue.row == 1 && x.epilogue.column != 1;
    constexpr int kAtOnce = 8;
    static_assert(kM * kN % (kAtOnce * kThreads) == 0, "no thread is without an element");
    for (int first = thread(); first < kM * kN; first += kAtOnce * kThreads) {
      const auto each = [&](const auto& visit) {
        FW_UNROLL for (int s = 0; s < kAtOnce; s++) {
          const int e = first + s * kThreads, r = turned ? e % kM : e / kN, c = turned ? e / kM : e % kN;
          if (at.row + r < x.m && at.column + c < x.n) visit(s, r, c);
        }
      };
      if (args.partials) {
        const int64_t batch = x.batch1 * x.batch2, member = (at.part * batch + at.i * x.batch2 + at.j) * x.m;
        each([&](int, int r, int c) {
          args.partials[(member + at.row + r) * x.n + at.column + c] = shared.sums[r * kRow + c];
        });
        continue;
      }
      Epilogue::Element elements[kAtOnce];
      each([&](int s, int r, int c) { elements[s] = x.epilogue.read(at.i, at.j, at.row + r, at.column + c, x.n); });
      each([&](int s, int r, int c) { x.epilogue.write(elements[s], shared.sums[r * kRow + c]); });
    }
  }
};

// Adds up the stretches that several blocks took.
struct AddParts {
  static constexpr int kThreads = 256;
  struct Args {
    Problem x;
    int64_t parts;
    const float* partials;
  };
  struct Shared {};
  static FW_DEVICE void run(const Args& args, Shared&) {
    const Problem& x = args.x;
    const int64_t count = x.batch1 * x.batch2 * x.m * x.n, i = block() * kThreads + thread();
    if (i >= count) return;
    float sum = 0;
    for (int64_t p = 0; p < args.parts; p++) sum += args.partials[p * count + i];
    const Division row = divide(i, x.n), member = divide(row.quotient, x.m), batch = divide(member.quotient, x.batch2);
    x.epilogue.write(x.epilogue.read(batch.quotient, batch.rest, member.rest, row.rest, x.n), sum);
  }
};

}  // namespace fw::cuda::gemm
