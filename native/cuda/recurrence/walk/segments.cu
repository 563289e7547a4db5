// The states at the cuts of long sequences, S_r = A_r S_r-1 + B_r for one cut after the other, in float32.
#include "segments.cuh"

#include "../../math.cuh"

namespace fw::cuda::walk {
namespace {

// A block has eight values of a head, a warp sixteen keys of them. Blocks are counted by cuts: that of the first cut of a
// sequence in the group goes on through the others.
template <int K>
struct Join {
  static constexpr int kValues = 8, kThreads = K / 16 * kWarp;
  struct Args {
    Problem p;
    Cuts cuts;
    int64_t first;
  };
  struct Shared {
    float state[K * kValues];
  };

  static FW_DEVICE void run(const Args& args, Shared& shared) {
    const Problem& p = args.p;
    const Cuts& cuts = args.cuts;
    const int64_t tiles = p.V / kValues, h = block() / tiles % p.heads;
    const int first = static_cast<int>(block() % tiles) * kValues;
    Segment own = segment_before(p, cuts, args.first + block() / tiles / p.heads);
    const bool leads = own.number == 0 || own.number * kSegmentChunks <= p.firstChunk - own.sequence.chunk;
    if (!own.there || !own.ends || !leads) return;
    float state[4];
    const int64_t start = own.number == 0 ? own.cut : own.cut - 1;
    each_of(p, cuts, start, h, first, [&](int e, float& s) { state[e] = s; });
    if (own.number == 0) own = next(p, own);
    for (; own.there && own.ends && !own.last; own = next(p, own)) {
      float sum[4];
      each_of(p, cuts, own.cut, h, first, [&](int e, float& s) { sum[e] = s; });
      const int64_t map = own.cut * p.heads + h;
      if (p.erase) add_product(cuts.maps + (map * K + 16 * warp()) * K, state, sum, shared);
      else FW_UNROLL for (int e = 0; e < 4; e++) sum[e] = fmaf(cuts.maps[map], state[e], sum[e]);
      FW_UNROLL for (int e = 0; e < 4; e++) state[e] = flushed(sum[e]);
      each_of(p, cuts, own.cut, h, first, [&](int e, float& s) { s = state[e]; });
    }
  }

  static FW_DEVICE Segment next(const Problem& p, const Segment& own) {
    return segment_of(p, own.n, own.cut - own.number, own.number + 1);
  }

  // Calls visit(e, state) for this lane's elements of the state at a cut.
  template <class Visit>
  static FW_DEVICE void each_of(const Problem& p, const Cuts& cuts, int64_t cut, int64_t h, int first,
                                const Visit& visit) {
    float* const rows = cuts.states + ((cut * p.heads + h) * K + 16 * warp()) * p.V + first;
    const int g = lane() / 4, t = lane() % 4;
    FW_UNROLL for (int e = 0; e < 4; e++) visit(e, rows[static_cast<int64_t>(g + e / 2 * 8) * p.V + 2 * t + e % 2]);
  }

  // sum += A S; `map` are the warp's rows of A. They are read before the barrier: only then must all of S be there.
  static FW_DEVICE void add_product(const float* map, float (&state)[4], float (&sum)[4], Shared& shared) {
    constexpr int kAtOnce = 32;  // terms of one sum, as in multiply_keys
    const int g = lane() / 4, t = lane() % 4;
    float rows[K / 8][4];
    FW_UNROLL for (int k = 0; k < K / 8; k++)
      FW_UNROLL for (int e = 0; e < 4; e++) rows[k][e] = map[(g + e % 2 * 8) * K + 8 * k + t + e / 2 * 4];
    barrier();  // all have used the state before
    eachElement(state, [&](int r, int j, float& s) { shared.state[(16 * warp() + r) * kValues + j] = s; });
    barrier();
    FW_UNROLL for (int from = 0; from < K; from += kAtOnce) {
      float part[4] = {};
      FW_UNROLL for (int k = from / 8; k < (from + kAtOnce) / 8; k++) {
        multiply(part, rows[k], shared.state + 8 * k * kValues);
      }
      FW_UNROLL for (int e = 0; e < 4; e++) sum[e] += part[e];
    }
  }

  // sum += a b over eight terms, exact to float32: a in the layout of mmaTf32, b [8, kValues].
  static FW_DEVICE void multiply(float (&sum)[4], const float (&a)[4], const float* b) {
    const int g = lane() / 4, t = lane() % 4;
    uint32_t a_high[4], a_low[4], b_high[2], b_low[2];
    FW_UNROLL for (int e = 0; e < 4; e++) {
      const Split parts = split(a[e]);
      a_high[e] = parts.high, a_low[e] = parts.low;
    }
    FW_UNROLL for (int e = 0; e < 2; e++) {
      const Split parts = split(b[(t + 4 * e) * kValues + g]);
      b_high[e] = parts.high, b_low[e] = parts.low;
    }
    mmaTf32(sum, a_low, b_high);
    mmaTf32(sum, a_high, b_low);
    mmaTf32(sum, a_high, b_high);
  }
};

}  // namespace

Cuts cuts_for(const Context& cx, const Problem& p) {
  Cuts cuts{};
  if (p.offsets) {
    cuts.most = cuts_of(p.tokens);
    if (cuts.most > 0) cuts.first = first_pieces(cx, p, kSegment, kWhole, 1);
  } else {
    cuts.each = cuts_of(p.tokens), cuts.most = p.sequences * cuts.each;
  }
  cuts.maps = cx.scratch_of<float>(cuts.most * p.heads * (p.erase ? p.K * p.K : 1));
  cuts.states = cx.scratch_of<float>(cuts.most * p.heads * p.K * p.V);
  return cuts;
}

template <int K>
void join_segments(const Context& cx, const Problem& p, const Cuts& cuts, int64_t first, int64_t count) {
  launch<Join<K>>(cx, count * p.heads * (p.V / Join<K>::kValues), {p, cuts, first});
}
template void join_segments<64>(const Context&, const Problem&, const Cuts&, int64_t, int64_t);
template void join_segments<128>(const Context&, const Problem&, const Cuts&, int64_t, int64_t);

}  // namespace fw::cuda::walk
