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
  // What sixteen terms take where so many warps load together: passes of shared memory for what they load and for what is
  // copied there, whose lines take as many again.
  static constexpr int cost(int together) {
    return kThreads / kWarp / together * (together * warpM + warpN) / 4 + (m + n) / 2;
  }
  // Whether a block can add up several stretches: a warp has registers for that many sums twice.
  static constexpr bool kAddsStretches = warpM * warpN <= 2048;
  // Whether there is room for more than sums and addresses: so many threads of a block have no more than 168 each.
  static constexpr bool kLeavesRegisters = kThreads <= 256;
};

template <class Products, class Shape, Layout aLayout, Layout bLayout>
struct Multiply {
  using Element = typename Products::Element;
  using A = typename Products::template Tile<Shape::kM, aLayout>;
  using B = typename Products::template Tile<Shape::kN, bLayout>;
  static constexpr int kThreads = Shape::kThreads, kStages = Shape::kStages;
  static constexpr int kAhead = kStages - 1 - Products::kLag;  // steps whose copies are under way
  static constexpr int kM = Shape::kM, kN = Shape::kN, kRow = kN + 8;

  struct Args {
    Problem x;
    int steps, parts, stretch;  // steps of each term; blocks for a tile, each of which takes a stretch of so many steps
    int64_t apart;              // from the results of a stretch to those of the next
    bool isWide;                // of the results
  };
  struct Stage {
    alignas(Products::kAlignment) Element a[A::kSize];
    alignas(Products::kAlignment) Element b[B::kSize];
  };
  union Shared {
    Stage stages[kStages];
    float sums[kM * kRow];
  };

  static FW_DEVICE void run(const Args& args, Shared& shared) {
    const Place at = placeOf(args, static_cast<int>(block()));
    const int all = static_cast<int>(args.x.terms) * args.steps, first = at.part * args.stretch;
    const int end = args.parts > 1 && first + args.stretch < all ? first + args.stretch : all;

    constexpr int kAcross = kN / Shape::kWarpN;
    const int row = warp() / kAcross * Shape::kWarpM, column = warp() % kAcross * Shape::kWarpN;
    Sums<Shape::kWarpM / 16, Shape::kWarpN / 8> total, part;
    total.clear(), part.clear();
    Feed feed(args);
    feed.begin(at, first);
    for (int s = 0; s < kAhead; s++) feed.next(shared.stages[s], first + s, end);
    int left = args.stretch, slot = 0;
    for (int step = first; step < end; step++) {
      copyWait<kAhead - 1>();
      Products::begin();
      // All have this step, and nobody reads the one whose place the next takes.
      barrier();
      feed.next(shared.stages[slot + kAhead < kStages ? slot + kAhead : slot + kAhead - kStages], step + kAhead, end);
      const Stage& stage = shared.stages[slot];
      Products::template multiply<A, B>(part, stage.a, row, stage.b, column);
      slot = slot == kStages - 1 ? 0 : slot + 1;
      if (Shape::kAddsStretches && (--left == 0 || step + 1 == end)) {
        total.add(part), part.clear();
        left = args.stretch;
      }
    }
    Products::finish();
    barrier();
    (Shape::kAddsStretches ? total : part).template put<kRow>(shared.sums + row * kRow + column);
    barrier();
    const Place to = Shape::kLeavesRegisters ? at : placeAgain(args);
    args.x.epilogue.with([&](auto finish) {
      if (args.isWide) finishWide<finish.value>(args, to, shared);
      else finishElements<finish.value>(args, to, shared);
    });
  }

 private:
  struct Place {
    int i, j, part;  // the member of the batch, the stretch
    int64_t row, column;
  };

  // That of this block once more, for those that have no registers to keep it in.
  static FW_DEVICE Place placeAgain(const Args& args) { return placeOf(args, again(static_cast<int>(block()))); }

  // Blocks that run at the same time share rows and columns: eight tiles below each other, then those beside them.
  static FW_DEVICE Place placeOf(const Args& args, int number) {
    const Problem& x = args.x;
    const int down = static_cast<int>((x.m + kM - 1) / kM), across = static_cast<int>((x.n + kN - 1) / kN);
    const int tile = number % (down * across), rest = number / (down * across);
    const int top = tile / (8 * across) * 8, height = down - top < 8 ? down - top : 8, within = tile - top * across;
    const int member = rest / args.parts, batch2 = static_cast<int>(x.batch2);
    return {member / batch2, member % batch2, rest % args.parts, int64_t{kM} * (top + within % height),
            int64_t{kN} * (within / height)};
  }

  // The copies of steps one after the other, through all terms; each is a group, as is what there is none for.
  class Feed {
   public:
    FW_DEVICE explicit Feed(const Args& args) : args_(args) {}
    // From a step on, in the tiles of a place.
    FW_DEVICE void begin(const Place& at, int step) {
      const Problem& x = args_.x;
      const int term = step >= args_.steps;
      if (term == x.terms) return;
      const int64_t k = int64_t{step - term * args_.steps} * A::kDepth;
      const Factor &a = x.a[term], &b = x.b[term];
      a_.begin(a, a.member(at.i, at.j), at.row, x.m, k, x.k);
      b_.begin(b, b.member(at.i, at.j), at.column, x.n, k, x.k);
    }
    FW_DEVICE void next(Stage& stage, int step, int end) {
      if (step < end) {
        a_.next(stage.a), b_.next(stage.b);
        if (step + 1 == args_.steps && step + 1 < end) begin(placeAgain(args_), step + 1);
      }
      copyCommit();
    }

   private:
    const Args& args_;
    Copies<A, kThreads> a_;
    Copies<B, kThreads> b_;
  };

  // Each thread has the same columns of some rows; what several of these need is under way before the first is waited for.
  template <Finish kFinish>
  static FW_DEVICE void finishWide(const Args& args, const Place& at, const Shared& shared) {
    const Problem& x = args.x;
    const Epilogue& epilogue = x.epilogue;
    constexpr int kWidth = kWide, kGroups = kN / kWidth, kApart = kThreads / kGroups, kMost = kM / kApart;
    constexpr int kStep = kMost < 4 ? kMost : 4;
    static_assert(kThreads % kGroups == 0 && kM % (kStep * kApart) == 0, "threads share whole rows");
    const int first = thread() / kGroups, c = thread() % kGroups * kWidth;
    if (at.column + c >= x.n) return;
    const int rows = x.m - at.row < kM ? static_cast<int>(x.m - at.row) : kM;
    Epilogue::Elements<kWidth> next;
    epilogue.place(next, at.i, at.j, at.row + first, at.column + c, x.n);
    next.to += at.part * args.apart;
    const float* sums = shared.sums + first * kRow + c;
    for (int r = first; r < rows; r += kStep * kApart) {
      Epilogue::Elements<kWidth> elements[kStep];
      FW_UNROLL for (int s = 0; s < kStep; s++) {
        elements[s].to = next.to, elements[s].at = next.at, elements[s].c = next.c;
        next.to += kApart * epilogue.row, next.at += kApart * x.n;
        if (r + s * kApart < rows) epilogue.read<kFinish>(elements[s]);
      }
      FW_UNROLL for (int s = 0; s < kStep; s++) {
        float own[kWidth];
        loadGroup(In{sums}, s * kApart * kRow, own);
        if (r + s * kApart < rows) epilogue.write<kFinish>(elements[s], own);
      }
      sums += kStep * kApart * kRow;
    }
  }

  // One element at a time; threads go along what lies side by side in the result.
  template <Finish kFinish>
  static FW_DEVICE void finishElements(const Args& args, const Place& at, const Shared& shared) {
    const Problem& x = args.x;
    const Epilogue& epilogue = x.epilogue;
    const bool turned = epilogue.row == 1 && epilogue.column != 1;
    constexpr int kMost = kM * kN / kThreads, kStep = kMost < 8 ? kMost : 8;
    static_assert(kM * kN % (kStep * kThreads) == 0, "no thread is without an element");
    for (int first = thread(); first < kM * kN; first += kStep * kThreads) {
      const auto each = [&](const auto& visit) {
        FW_UNROLL for (int s = 0; s < kStep; s++) {
          const int e = first + s * kThreads, r = turned ? e % kM : e / kN, c = turned ? e / kM : e % kN;
          if (at.row + r < x.m && at.column + c < x.n) visit(s, r, c);
        }
      };
      Epilogue::Elements<1> elements[kStep];
      each([&](int s, int r, int c) {
        epilogue.place(elements[s], at.i, at.j, at.row + r, at.column + c, x.n);
        elements[s].to += at.part * args.apart;
        epilogue.read<kFinish>(elements[s]);
      });
      each([&](int s, int r, int c) {
        float sums[1] = {shared.sums[r * kRow + c]};
        epilogue.write<kFinish>(elements[s], sums);
      });
    }
  }
};

// Adds up the stretches that several blocks took: kWidth neighbours a thread.
template <int kWidth>
struct AddParts {
  static constexpr int kThreads = 256;
  struct Args {
    Problem x;
    int64_t parts;
    In partials;  // [parts, batch, m, n]
  };
  struct Shared {};
  static FW_DEVICE void run(const Args& args, Shared&) {
    const Problem& x = args.x;
    const int64_t count = x.batch1 * x.batch2 * x.m * x.n, i = (block() * kThreads + thread()) * kWidth;
    if (i >= count) return;
    float sums[kWidth] = {};
    for (int64_t p = 0; p < args.parts; p++) {
      float part[kWidth];
      loadGroup(args.partials, p * count + i, part);
      FW_UNROLL for (int w = 0; w < kWidth; w++) sums[w] += part[w];
    }
    const Division row = divide(i, x.n), member = divide(row.quotient, x.m), batch = divide(member.quotient, x.batch2);
    Epilogue::Elements<kWidth> elements;
    x.epilogue.place(elements, batch.quotient, batch.rest, member.rest, row.rest, x.n);
    x.epilogue.with([&](auto finish) {
      x.epilogue.read<finish.value>(elements);
      x.epilogue.write<finish.value>(elements, sums);
    });
  }
};

}  // namespace fw::cuda::gemm
