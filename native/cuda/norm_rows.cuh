// Norms of rows that stay in the registers of a team: each is read once, 16 bytes at a time, and written once. Going back
// a block walks through a strip of rows and keeps what they add to the gradients of weight and bias.
#pragma once
#include "lanes.cuh"
#include "strips.cuh"
#include "team.cuh"

namespace fw::cuda {

// What the factor of a row is made from, by the kind of the norm: the sum of its elements, or of the squares of what they are
// above their mean.
FW_DEVICE float reciprocal_of(const normArgs& x, float total) {
  const float count = static_cast<float>(x.n), eps = static_cast<float>(x.eps);
  return 1 / (x.kind == kBySum ? total + eps : sqrtf((x.kind == kL2 ? total : total / count) + eps));
}

// A row of at most kMost elements: each thread of its team has kPacks packs of kLanes neighbours.
template <class T, int kTeam, int kEach>
struct NormRow {
  static constexpr int kOwners = kTeam, kOwned = kEach, kLanes = 16 / sizeof(T);
  static constexpr int kPacks = kEach / kLanes, kMost = kTeam * kEach;
  using Values = float[kLanes];
  using Packed = Pack<T, kLanes>;
  typename Packed::Stored packs[kPacks];

  static FW_DEVICE int column(int i) { return (i * kTeam + team_member<kTeam>()) * kLanes; }

  // The n elements from `at` on; no others are read, here or below.
  FW_DEVICE void load(const void* data, int64_t at, int n) {
    const T* const from = static_cast<const T*>(data) + at;
    FW_UNROLL for (int i = 0; i < kPacks; i++) {
      if (column(i) < n) packs[i] = *reinterpret_cast<const typename Packed::Stored*>(from + column(i));
    }
  }
  FW_DEVICE void fill(float x) {
    Values all;
    FW_UNROLL for (int v = 0; v < kLanes; v++) all[v] = x;
    FW_UNROLL for (int i = 0; i < kPacks; i++) packs[i] = Packed::narrow(all);
  }
  FW_DEVICE void values(Values& x, int i) const { Packed::widen(x, packs[i]); }
  static FW_DEVICE void put(void* data, int64_t at, int i, const Values& x) {
    *reinterpret_cast<typename Packed::Stored*>(static_cast<T*>(data) + at + column(i)) = Packed::narrow(x);
  }

  // Calls visit(i, values) for each pack that the row has.
  template <class Visit>
  FW_DEVICE void each(int n, const Visit& visit) const {
    FW_UNROLL for (int i = 0; i < kPacks; i++) {
      if (column(i) >= n) continue;
      Values x;
      values(x, i);
      visit(i, x);
    }
  }
  // The sum of a pack, which it takes up.
  static FW_DEVICE float added(Values& x) {
    FW_UNROLL for (int width = kLanes / 2; width > 0; width /= 2) {
      FW_UNROLL for (int v = 0; v < width; v++) x[v] += x[v + width];
    }
    return x[0];
  }
};

template <class Row>
struct NormRows {
  static constexpr int kThreads = kLineThreads, kTeam = Row::kOwners;
  using Own = Row;
  using Values = typename Own::Values;
  using Args = normArgs;
  struct Shared {
    Sum levels[kLineWarps], squares[kLineWarps];
  };

  static FW_DEVICE void run(const Args& x, Shared& shared) {
    const int64_t row = team_line<kTeam>(), at = row * x.n, group = x.groups > 1 ? row % x.groups * x.n : 0;
    // Teams that share a warp stay together.
    const int n = row < x.rows ? static_cast<int>(x.n) : 0;
    Own own, weight, bias;
    own.load(x.x.data, at, n);
    if (x.weight.data) weight.load(x.weight.data, group, n);
    if (x.bias.data) bias.load(x.bias.data, group, n);
    float mean = 0;
    if (x.kind == kLayer) {
      Sum level;
      own.each(n, [&](int, Values& v) { level.add(Own::added(v)); });
      mean = gather<kTeam>(level, shared.levels, Added{}).total() / static_cast<float>(x.n);
    }
    Sum squares;
    own.each(n, [&](int, Values& v) {
      FW_UNROLL for (int l = 0; l < Own::kLanes; l++) {
        const float d = v[l] - mean;
        v[l] = x.kind == kBySum ? d : d * d;
      }
      squares.add(Own::added(v));
    });
    const float rstd = reciprocal_of(x, gather<kTeam>(squares, shared.squares, Added{}).total());
    own.each(n, [&](int i, Values& v) {
      FW_UNROLL for (int l = 0; l < Own::kLanes; l++) v[l] = (v[l] - mean) * rstd;
      Values more;
      if (x.weight.data) {
        weight.values(more, i);
        FW_UNROLL for (int l = 0; l < Own::kLanes; l++) v[l] *= more[l];
      }
      if (x.bias.data) {
        bias.values(more, i);
        FW_UNROLL for (int l = 0; l < Own::kLanes; l++) v[l] += more[l];
      }
      Own::put(x.y.data, at, i, v);
    });
    if (n > 0 && team_member<kTeam>() == 0) {
      store(x.stats, 2 * row, mean);
      store(x.stats, 2 * row + 1, rstd);
    }
  }
};

struct NormRowsBackArgs {
  normBackwardArgs x;
  float* sums;  // [strips, 2, groups * n] for the gradients of weight and bias
};

template <class Row, bool kBias>
struct NormRowsBack {
  static constexpr int kThreads = kLineThreads, kTeam = Row::kOwners, kTeams = kThreads / kTeam, kEach = Row::kOwned;
  // Rows of a group that a team walks through, and a block.
  static constexpr int kRows = kTeam < kWarp ? 16 : kTeam == kWarp ? 8 : 32;
  static constexpr int64_t kStrip = kRows * kTeams;
  using Own = Row;
  using Values = typename Own::Values;
  using Args = NormRowsBackArgs;
  struct Shared {
    // By turns, so that none waits for those who still read what the row before has left.
    Sum along[2][kLineWarps], levels[2][kLineWarps];
    alignas(16) float parts[kTeams > 1 ? kTeams * Own::kMost : 1];
  };

  static FW_DEVICE void run(const Args& args, Shared& shared) {
    const normBackwardArgs& x = args.x;
    const int n = static_cast<int>(x.n);
    const int64_t strip = x.groups > 1 ? block() / x.groups : block(), group = block() - strip * x.groups;
    Own weight;
    if (x.weight.data) weight.load(x.weight.data, group * n, n);
    else weight.fill(1);
    float dweight[kEach] = {}, dbias[kBias ? kEach : 1] = {};
    FW_ROLLED for (int r = 0; r < kRows; r++) {
      const int64_t place = (strip * kRows + r) * kTeams + thread() / kTeam, row = place * x.groups + group;
      const int there = row < x.rows ? n : 0;
      if (kTeam >= kWarp && there == 0) break;
      walk(x, shared, r % 2, row, there, weight, dweight, dbias);
    }
    if (!args.sums) return;
    const int64_t all = x.groups * n, to = strip * 2 * all + group * n;
    leave(shared, args.sums + to, n, dweight);
    if constexpr (kBias) {
      if constexpr (kTeams > 1) barrier();
      leave(shared, args.sums + to + all, n, dbias);
    }
  }

 private:
  // With z = (x - mean) rstd and g = weight dy: dx = rstd (g - [mean g] - z (z . g) / n), without / n for L2;
  // rstd (g - z . g) by the sum.
  template <int kKept>
  static FW_DEVICE void walk(const normBackwardArgs& x, Shared& shared, int turn, int64_t row, int there,
                             const Own& weight, float (&dweight)[kEach], float (&dbias)[kKept]) {
    const int64_t at = row * x.n;
    Own own, dy, before;
    own.load(x.x.data, at, there), dy.load(x.dy.data, at, there);
    if (x.accumulate) before.load(x.dx.data, at, there);
    const float mean = there > 0 ? load(x.stats, 2 * row) : 0.0f, rstd = there > 0 ? load(x.stats, 2 * row + 1) : 0.0f;
    // Calls visit(i, z, dy, g).
    const auto each = [&](const auto& visit) {
      own.each(there, [&](int i, Values& z) {
        Values d, g;
        dy.values(d, i), weight.values(g, i);
        FW_UNROLL for (int l = 0; l < Own::kLanes; l++) z[l] = (z[l] - mean) * rstd, g[l] *= d[l];
        visit(i, z, d, g);
      });
    };
    Sum along, level;
    each([&](int, Values& z, const Values&, Values& g) {
      FW_UNROLL for (int l = 0; l < Own::kLanes; l++) z[l] *= g[l];
      along.add(Own::added(z));
      if (x.kind == kLayer) level.add(Own::added(g));
    });
    float remove = gather<kTeam>(along, shared.along[turn], Added{}).total(), lower = 0;
    const float count = static_cast<float>(x.n);
    if (x.kind == kBySum) lower = remove, remove = 0;
    else if (x.kind != kL2) remove /= count;
    if (x.kind == kLayer) lower = gather<kTeam>(level, shared.levels[turn], Added{}).total() / count;
    each([&](int i, Values& z, const Values& d, Values& g) {
      FW_UNROLL for (int l = 0; l < Own::kLanes; l++) {
        const int e = i * Own::kLanes + l;
        dweight[e] = fmaf(d[l], z[l], dweight[e]);
        if constexpr (kKept > 1) dbias[e] += d[l];
        g[l] = rstd * ((g[l] - lower) - z[l] * remove);
      }
      if (x.accumulate) {
        before.values(z, i);
        FW_UNROLL for (int l = 0; l < Own::kLanes; l++) g[l] += z[l];
      }
      Own::put(x.dx.data, at, i, g);
    });
  }

  // Writes the sums of a strip, those of its teams added up in their order.
  static FW_DEVICE void leave(Shared& shared, float* to, int n, const float (&sums)[kEach]) {
    float* const parts = kTeams > 1 ? shared.parts + thread() / kTeam * Own::kMost : to;
    FW_UNROLL for (int i = 0; i < Own::kPacks; i++) {
      if (Own::column(i) >= n) continue;
      FW_UNROLL for (int l = 0; l < Own::kLanes; l += 4) {
        const int e = i * Own::kLanes + l;
        *reinterpret_cast<uint4*>(parts + Own::column(i) + l) =
            Pack<float, 4>::narrow({sums[e], sums[e + 1], sums[e + 2], sums[e + 3]});
      }
    }
    if constexpr (kTeams > 1) {
      barrier();
      for (int c = thread(); c < n; c += kThreads) {
        float sum = 0;
        for (int team = 0; team < kTeams; team++) sum += shared.parts[team * Own::kMost + c];
        to[c] = sum;
      }
    }
  }
};

// Whether rows fit the kernels above: all tensors of one dtype, in whole packs, no longer than the longest row there is.
constexpr int64_t kLongestNormRow = 8192;
template <class... Tensors>
bool fits_norm_rows(int64_t n, const In& x, const Tensors&... others) {
  const auto fits = [&](const void* data, DType dtype) {
    return !data || (dtype == x.dtype && lies_whole(data, n, dtype));
  };
  return n > 0 && n <= kLongestNormRow && fits(x.data, x.dtype) && (... && fits(others.data, others.dtype));
}

// Calls visit(NormRow) of the dtype, with a team for rows of n elements: their length alone decides.
template <class T, class Visit>
void with_team(int64_t n, const Visit& visit) {
  if (n <= 128) visit(NormRow<T, 16, 8>{});
  else if (n <= kShortLine) visit(NormRow<T, kWarp, 32>{});
  else visit(NormRow<T, kLineThreads, 32>{});
}
template <class Visit>
void with_norm_row(DType dtype, int64_t n, const Visit& visit) {
  if (dtype == kBfloat16) with_team<uint16_t>(n, visit);
  else with_team<float>(n, visit);
}

}  // namespace fw::cuda
