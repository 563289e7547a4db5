// The walk from the last half chunk of a head to the first where every key has a gate of its own: the mirror image of
// walk_faded.cuh, with the gradient of the state, dS^T, in the registers of a warp. Per half, with the operands of
// faded.cuh and the tile dO of its tokens,
//   dN^T = dS^T write^T + dO^T read      P^T = dN^T solve [linear: dN^T]      dV = beta P
//   dS^T <- through dS^T + dO^T queries - (beta P)^T erase
#include "back_rows.cuh"
#include "backward_faded.cuh"
#include "calls.cuh"
#include "pipeline.cuh"

namespace fw::cuda::walk {
namespace {

template <int K, int kWarps, int kStages, bool kErases>
struct WalkBackFaded {
  static constexpr int kThreads = kWarps * kWarp, kValues = 16 * kWarps;
  using HalfRows = RowsOf<kHalf>;
  struct Args {
    Problem p;
    const Faded<K>* faded;
    Trace trace;
    InMaybe dfinalState;
    Out dv;
    OutMaybe dinitialState;
    Carry carry;
  };
  struct alignas(128) Stage {
    uint16_t erase[kTokens * K], write[kTokens * K], pairs[kSquare];
    uint16_t rows[kTokens * (K > kValues ? K : kValues)];  // queries, and dO below them
    float through[K], beta[kHalf];
  };
  struct Shared {
    Stage stages[kStages];
  };

  // What does not change along the sequence.
  struct Work {
    const Args& args;
    Task task;
    Source right;
    int64_t place;  // of the sequence's first chunk, in the trace

    // Where chunk c stands in the trace.
    FW_DEVICE int64_t of(int64_t c) const { return place + c * args.p.heads; }
    // Of the trace, the one that has this lane's pair of values.
    FW_DEVICE int tile() const { return (task.first + own_value()) / 64; }
  };

  static FW_DEVICE void run(const Args& args, Shared& shared) {
    const Problem& p = args.p;
    const int blocks = (p.V + kValues - 1) / kValues;
    const int64_t h = block() / blocks % p.heads, n = args.carry.firstSequence + block() / blocks / p.heads;
    const Portion own = portion_at<kTokens>(p, n);
    if (!own.there) return;
    const int first = static_cast<int>(block() % blocks) * kValues;
    const Work work = {args, task_of(p, own.sequence, n, h, first),
                       source_of(p.right, p.heads, h, own.sequence.begin, first),
                       (own.sequence.chunk - p.firstChunk) * p.heads + h};
    State<K> dstate;
    get_dstate<K>(work.task, args.dfinalState, args.carry, own.ends, dstate);
    const int64_t begin = 2 * own.begin, end = 2 * own.end, last = begin + end - 1;
    Pipeline<kStages, Engine>::run(
        begin, end, [&](int64_t step, int stage) { fill(work, last - step, shared.stages[stage]); },
        [&](int64_t step, int stage) { through_half(work, last - step, shared.stages[stage], dstate); });
    put_dstate<K>(work.task, args.dinitialState, args.carry, own.begins, dstate);
  }

  static FW_DEVICE void fill(const Work& work, int64_t half, Stage& stage) {
    const Problem& p = work.args.p;
    const Faded<K>& from = work.args.faded[2 * work.of(half / 2) + half % 2];
    const int count = work.task.template tokens<kHalf>(half), width = p.V - work.task.first;
    constexpr int kRows = kErases ? kTokens : kHalf;
    copy_rows<K, kThreads, kHalf>(stage.rows, {from.queries, K}, 0, kHalf);
    copy_rows<kValues, kThreads, kHalf>(stage.rows + kLow, work.right, half * kHalf, count, width);
    if (kErases) copy_tile<K, kThreads, kRows>(stage.erase, from.erase);
    copy_tile<K, kThreads, kRows>(stage.write, from.write);
    copy_tile<64, kThreads, kRows>(stage.pairs, from.pairs);
    if (thread() < K / 4) copyAsync16(stage.through + 4 * thread(), from.through + 4 * thread());
    if (kErases && thread() < kHalf / 4) copyAsync16(stage.beta + 4 * thread(), from.beta + 4 * thread());
  }

  // Of a chunk the second half comes first, though it may have no tokens.
  static FW_DEVICE void through_half(const Work& work, int64_t half, const Stage& stage, State<K>& dstate) {
    const Trace& trace = work.args.trace;
    if (half % 2 == 1) {
      const int64_t place = work.of(half / 2) * trace.dstate_elements(K) + work.tile() * (K * 64);
      put_tile(work.task, trace.dstates + place, dstate);
    }
    HalfRows dwritten = {};
    uint32_t right[kHalf / 16][4];
    FW_UNROLL for (int k = 0; k < kHalf / 16; k++) {
      float values[2][4];
      FW_UNROLL for (int i = 0; i < 2; i++) take_values(stage.rows + kLow, 2 * k + i, values[i]);
      round_to(right[k], values, 0);
    }
    Engine::begin(dwritten);
    FW_UNROLL for (int k = 0; k < K / 16; k++) {
      uint32_t of_state[4];
      round_to(of_state, dstate, k);
      if constexpr (kErases) Engine::rows(dwritten, of_state, stage.write + kLow, k);
      Engine::rows(dwritten, of_state, stage.write, k);
    }
    FW_UNROLL for (int k = 0; k < kHalf / 16; k++) {
      Engine::columns(dwritten, right[k], stage.pairs, k, 16 * k + 16, kHalf);
      Engine::columns(dwritten, right[k], stage.pairs, k, 16 * k + 16);
    }
    Engine::close();
    Engine::end(dwritten);
    if constexpr (kErases) solve(work, half, stage, dwritten);
    put_values(work, half, dwritten);

    pass_through(stage, dstate);
    if constexpr (kErases) each_token<kHalf>([&](int i, int e, int) { dwritten[i][e] = -dwritten[i][e]; });
    Engine::begin(dstate);
    FW_UNROLL for (int k = 0; k < kHalf / 16; k++) {
      Engine::columns(dstate, right[k], stage.rows, k);
      if constexpr (kErases) {
        const Factors left = split(dwritten, k);
        Engine::columns(dstate, left.high, stage.erase + kLow, k);
        Engine::columns(dstate, left, stage.erase, k);
      }
    }
    Engine::close();
    Engine::end(dstate);
  }

  // P, which is kept, and then beta P.
  static FW_DEVICE void solve(const Work& work, int64_t half, const Stage& stage, HalfRows& dwritten) {
    Factors left[kHalf / 16];
    FW_UNROLL for (int k = 0; k < kHalf / 16; k++) left[k] = split(dwritten, k);
    each_token<kHalf>([&](int i, int e, int) { dwritten[i][e] = 0; });
    const uint16_t* const tile = stage.pairs + kLow;
    Engine::begin(dwritten);
    FW_UNROLL for (int k = 0; k < kHalf / 16; k++) {
      Engine::columns(dwritten, left[k].low, tile, k, 16 * k + 16);
      Engine::columns(dwritten, left[k].high, tile, k, 16 * k + 16, kHalf);
      Engine::columns(dwritten, left[k].high, tile, k, 16 * k + 16);
    }
    Engine::close();
    Engine::end(dwritten);
    const Trace& trace = work.args.trace;
    const int64_t place = work.of(half / 2) * trace.dwritten_elements() + work.tile() * (2 * kSquare);
    uint16_t* const to = trace.dwritten + place + half % 2 * kLow;
    put_tile(work.task, to, dwritten, to + kSquare);
    each_token<kHalf>([&](int i, int e, int t) { dwritten[i][e] *= stage.beta[t]; });
  }

  static FW_DEVICE void put_values(const Work& work, int64_t half, const HalfRows& dwritten) {
    work.task.template each_pair<kHalf>(half, [&](int i, int e, int64_t place) {
      put_pair(work.args.dv, place, dwritten[i][e], dwritten[i][e + 2]);
    });
  }

  static FW_DEVICE void pass_through(const Stage& stage, State<K>& dstate) {
    FW_UNROLL for (int i = 0; i < K / 8; i++) {
      const float2 through = pair_at(stage.through + 8 * i + own_token());
      dstate[i][0] *= through.x, dstate[i][1] *= through.y, dstate[i][2] *= through.x, dstate[i][3] *= through.y;
    }
  }
};

template <class Kernel, int K>
void start(const Context& cx, const recurrenceBackwardArgs& args, const Problem& p, const Faded<K>* faded,
           const Trace& trace, int64_t sequences, const Carry& carry) {
  launch<Kernel, kLargeSharedBytes>(cx, sequences * p.heads * blocks_of<Kernel>(p),
                                    {p, faded, trace, args.dfinalState, args.dv, args.dinitialState, carry});
}

template <int K, bool kErases>
void start_with(const Context& cx, const recurrenceBackwardArgs& args, const Problem& p, const Faded<K>* faded,
                const Trace& trace, int64_t sequences, const Carry& carry) {
  using Wide = WalkBackFaded<K, 8, 2, kErases>;
  using Narrow = WalkBackFaded<K, 4, 1, kErases>;
  const auto way = is_wide<Wide, Narrow>(cx, p, sequences) ? start<Wide, K> : start<Narrow, K>;
  way(cx, args, p, faded, trace, sequences, carry);
}

}  // namespace

template <int K>
void walk_back_faded(const Context& cx, const recurrenceBackwardArgs& args, const Problem& p, const Faded<K>* faded,
                     const Trace& trace, int64_t sequences, const Carry& carry) {
  const auto way = p.erase ? start_with<K, true> : start_with<K, false>;
  way(cx, args, p, faded, trace, sequences, carry);
}
template void walk_back_faded<64>(const Context&, const recurrenceBackwardArgs&, const Problem&, const Faded<64>*,
                                  const Trace&, int64_t, const Carry&);
template void walk_back_faded<128>(const Context&, const recurrenceBackwardArgs&, const Problem&, const Faded<128>*,
                                   const Trace&, int64_t, const Carry&);

}  // namespace fw::cuda::walk
