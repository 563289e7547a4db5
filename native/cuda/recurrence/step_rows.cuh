// One token for many states of whole 16 bytes a row, not exchanged: see step.cu for what is computed. A thread keeps kRows rows
// of 16 bytes in registers between the two passes, so that a state is read and written once; eight threads lie side by side,
// and sixteen groups of them share the rows. States of bfloat16 are rounded when they are written, and read before.
#pragma once
#include "../flat.cuh"
#include "../lanes.cuh"
#include "../math.cuh"
#include "problem.cuh"

namespace fw::cuda {

struct StepRowsArgs {
  Problem p;
  InOut state;
  Out output;
};

template <class T, int kRows>
struct StepRows {
  static constexpr int kThreads = 128, kWarps = kThreads / kWarp, kAcross = 8, kGroups = kThreads / kAcross;
  static constexpr int kAtOnce = kRows <= 8 ? 4 : 1;  // for memory
  static constexpr int kLanes = 16 / static_cast<int>(sizeof(T)), kColumns = kAcross * kLanes, kKeys = kRows * kGroups;
  using Args = StepRowsArgs;
  using Packed = Pack<T, kLanes>;
  struct Shared {
    float decay[kKeys], erase[kKeys], write[kKeys], second[kKeys], read[kKeys];
    float value[kColumns], beta[kColumns], change[kColumns];
    float parts[kWarps][kColumns], weight[kWarps];
  };

  static int tiles(const Problem& p) { return (p.V + kColumns - 1) / kColumns; }

  // A row of an operand, without the division of each access where heads are its own.
  struct Line {
    const void* data;
    DType dtype;
    int64_t begin;
    FW_DEVICE Line(const Heads& x, int64_t n, int64_t h, int64_t heads)
        : data(x.data),
          dtype(x.dtype),
          begin(n * x.token + (x.count == heads ? h : divide(h * x.count, heads).quotient) * x.head) {}
    FW_DEVICE float operator[](int i) const { return element(data, dtype, begin + i); }
  };

  static FW_DEVICE void stage(const Problem& p, Shared& x, int64_t n, int64_t h, int column) {
    const auto line = [&](const Heads& operand) { return Line(operand, n, h, p.heads); };
    const Line q = line(p.q), k = line(p.k), gate = line(p.gate), eraseKey = line(p.eraseKey);
    const Line writeKey = line(p.writeKey), v = line(p.v), beta = line(p.beta);
    float weight = 0;
    for (int i = thread(); i < kKeys; i += kThreads) {
      const bool live = i < p.K;
      const float decay = live && p.gateWidth > 0 ? expf(gate[p.gateWidth == 1 ? 0 : i]) : 1.0f;
      x.decay[i] = decay;
      x.erase[i] = live && p.erase ? eraseKey[i] * (p.undecayed ? 1 : decay) : 0;
      x.write[i] = live ? writeKey[i] : 0;
      x.second[i] = live ? k[i] : 0;
      x.read[i] = live ? q[i] : 0;
      if (live && p.bonus.data) weight += x.read[i] * x.second[i] * load(p.bonus, h * p.K + i);
    }
    for (int j = thread(); j < kColumns; j += kThreads) {
      const bool live = column + j < p.V;
      x.value[j] = live ? v[column + j] : 0;
      x.beta[j] = live && p.betaWidth > 0 ? beta[p.betaWidth == 1 ? 0 : column + j] : 1;
    }
    weight = warpSum(weight);
    if (lane() == 0) x.weight[warp()] = weight;
  }

  // The sums of all rows: of a warp's four groups by shuffles, then of the warps by way of `parts`.
  static FW_DEVICE void gather_rows(Shared& x, float (&sums)[kLanes]) {
    FW_UNROLL for (int v = 0; v < kLanes; v++) {
      sums[v] += shuffleXor(sums[v], kAcross);
      sums[v] += shuffleXor(sums[v], 2 * kAcross);
    }
    if (lane() < kAcross) FW_UNROLL for (int v = 0; v < kLanes; v++) x.parts[warp()][lane() * kLanes + v] = sums[v];
    barrier();
  }
  static FW_DEVICE float over_warps(const Shared& x, int j) {
    float sum = 0;
    for (int w = 0; w < kWarps; w++) sum += x.parts[w][j];
    return sum;
  }

  static FW_DEVICE void run(const Args& args, Shared& x) {
    const Problem& p = args.p;
    const Division item = divide(block(), (p.V + kColumns - 1) / kColumns), place = divide(item.quotient, p.heads);
    const int64_t h = place.rest, n = place.quotient;
    const int tile = static_cast<int>(item.rest) * kColumns, own = thread() % kAcross * kLanes, group = thread() / kAcross;
    const bool live = tile + own < p.V;
    T* const state = static_cast<T*>(args.state.data) + item.quotient * p.K * p.V + tile + own;
    const auto at = [&](int row) { return reinterpret_cast<typename Packed::Stored*>(state + static_cast<int64_t>(row) * p.V); };

    typename Packed::Stored rows[kRows];
    FW_UNROLL for (int r = 0; r < kRows; r++) {
      rows[r] = {};
      if (live && r * kGroups + group < p.K) rows[r] = *at(r * kGroups + group);
    }
    stage(p, x, n, h, tile);
    barrier();

    float erased[kLanes] = {}, seen[kLanes] = {};
    FW_UNROLL for (int r = 0; r < kRows; r++) {
      float s[kLanes];
      Packed::widen(s, rows[r]);
      const float e = x.erase[r * kGroups + group], q = x.read[r * kGroups + group];
      FW_UNROLL for (int v = 0; v < kLanes; v++) {
        erased[v] = fmaf(s[v], e, erased[v]);
        if (p.readBefore) seen[v] = fmaf(s[v], q, seen[v]);
      }
    }
    gather_rows(x, erased);
    for (int j = thread(); j < kColumns; j += kThreads)
      x.change[j] = x.beta[j] * ((p.secondWrite ? 0 : x.value[j]) - over_warps(x, j));
    barrier();
    FW_UNROLL for (int r = 0; r < kRows; r++) {
      const int i = r * kGroups + group;
      float s[kLanes];
      Packed::widen(s, rows[r]);
      FW_UNROLL for (int v = 0; v < kLanes; v++) {
        const float more = p.secondWrite ? x.second[i] * x.value[own + v] : 0.0f;
        s[v] = flushed(fmaf(x.decay[i], s[v], fmaf(x.write[i], x.change[own + v], more)));
        if (!p.readBefore) seen[v] = fmaf(s[v], x.read[i], seen[v]);
      }
      if (live && i < p.K) *at(i) = Packed::narrow(s);
    }
    gather_rows(x, seen);
    float weight = 0;
    for (int w = 0; w < kWarps; w++) weight += x.weight[w];
    for (int j = thread(); j < kColumns && tile + j < p.V; j += kThreads)
      store(args.output, item.quotient * p.V + tile + j, p.scale * (over_warps(x, j) + weight * x.value[j]));
  }
};

inline bool has_whole_rows(const Problem& p, const InOut& state) {
  return reinterpret_cast<uintptr_t>(state.data) % 16 == 0 && p.V % (state.dtype == kFloat32 ? 4 : 8) == 0;
}

template <class T, int kRows>
void launch_rows_of(const Context& cx, const StepRowsArgs& args) {
  using Kernel = StepRows<T, kRows>;
  launch<Kernel>(cx, args.p.sequences * args.p.heads * Kernel::tiles(args.p), args);
}
template <class T>
void step_rows_as(const Context& cx, const StepRowsArgs& args) {
  constexpr int kFew = 8, kMany = 16;
  static_assert(StepRows<T, kMany>::kKeys >= kMostKeys, "all keys");
  if (args.p.K <= StepRows<T, kFew>::kKeys) launch_rows_of<T, kFew>(cx, args);
  else launch_rows_of<T, kMany>(cx, args);
}
inline void step_rows(const Context& cx, const StepRowsArgs& args) {
  if (args.state.dtype == kFloat32) step_rows_as<float>(cx, args);
  else step_rows_as<uint16_t>(cx, args);
}

}  // namespace fw::cuda
