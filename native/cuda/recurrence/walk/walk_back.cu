// The walk from the last chunk of a head to the first: the mirror image of walk.cu, with the gradient of the state, dS^T, in
// the registers of a warp. Per chunk, with the tiles K, Q, dO of its tokens and the scores of scores.cuh,
//   dN^T = rest (dS^T K^T) + dO^T read      P^T = dN^T solve [linear: dN^T]      dV = beta P
//   dS^T <- through_last dS^T + (scale through dO)^T Q - (beta through P)^T K
#include "back_rows.cuh"
#include "backward.cuh"
#include "calls.cuh"
#include "pipeline.cuh"

namespace fw::cuda::walk {
namespace {

template <int K, int kWarps, int kStages>
struct WalkBack {
  static constexpr int kThreads = kWarps * kWarp, kValues = 16 * kWarps;
  struct Args {
    Problem p;
    Trace trace;
    InMaybe dfinalState;
    Out dv;
    OutMaybe dinitialState;
    Carry carry;
  };
  struct alignas(128) Stage {
    uint16_t keys[kTokens * K], queries[kTokens * K], right[kTokens * kValues];
    Scores scores;
  };
  struct Shared {
    Stage stages[kStages];
  };

  // What does not change along the sequence.
  struct Work {
    const Args& args;
    Task task;
    Source keys, queries, right;
    int64_t place;  // of the sequence's first chunk, in the trace

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
    const int64_t begin = own.sequence.begin, chunk = own.sequence.chunk - p.firstChunk;
    const Work work = {args,
                       task_of(p, own.sequence, n, h, first),
                       source_of(p.k, p.heads, h, begin),
                       source_of(p.q, p.heads, h, begin),
                       source_of(p.right, p.heads, h, begin, first),
                       chunk * p.heads + h};
    State<K> dstate;
    get_dstate<K>(work.task, args.dfinalState, args.carry, own.ends, dstate);
    const int64_t last = own.begin + own.end - 1;
    Pipeline<kStages, Engine>::run(
        own.begin, own.end, [&](int64_t step, int stage) { fill(work, last - step, shared.stages[stage]); },
        [&](int64_t step, int stage) { through_chunk(work, last - step, shared.stages[stage], dstate); });
    put_dstate<K>(work.task, args.dinitialState, args.carry, own.begins, dstate);
  }

  static FW_DEVICE void fill(const Work& work, int64_t c, Stage& stage) {
    const Problem& p = work.args.p;
    const int64_t begin = c * kTokens;
    const int count = work.task.tokens(c);
    copy_rows<K, kThreads>(stage.keys, work.keys, begin, count);
    copy_rows<K, kThreads>(stage.queries, work.queries, begin, count);
    copy_rows<kValues, kThreads>(stage.right, work.right, begin, count, p.V - work.task.first);
    copy_scores<Direction::kBack, kThreads>(stage.scores, work.args.trace.scores[work.place + c * p.heads], p.erase);
  }

  static FW_DEVICE void through_chunk(const Work& work, int64_t c, const Stage& stage, State<K>& dstate) {
    const Problem& p = work.args.p;
    const Trace& trace = work.args.trace;
    const Scores& scores = stage.scores;
    const int64_t place = work.place + c * p.heads;
    put_tile(work.task, trace.dstates + place * trace.dstate_elements(K) + work.tile() * (K * 64), dstate);

    Rows direct = {}, dwritten;
    multiply_state(direct, dstate, stage.keys);
    each_token([&](int i, int e, int t) { direct[i][e] *= scores.rest[t]; });
    Engine::begin();
    FW_UNROLL for (int k = 0; k < kTokens / 16; k++) {
      float right[2][4];
      FW_UNROLL for (int i = 0; i < 2; i++) take_values(stage.right, 2 * k + i, right[i]);
      uint32_t left[4];
      round_to(left, right, 0);
      Engine::columns(direct, left, scores.read_low, k, 16 * k + 16);
      Engine::columns(direct, left, scores.read, k, 16 * k + 16);
    }
    Engine::end();
    if (p.erase) solve(work, place, scores, direct, dwritten);
    else each_token([&](int i, int e, int) { dwritten[i][e] = direct[i][e]; });
    work.task.each_pair(c, [&](int i, int e, int64_t at) {
      const float beta = p.erase ? scores.beta[8 * i + own_token() + e] : 1;
      put_pair(work.args.dv, at, beta * dwritten[i][e], beta * dwritten[i][e + 2]);
    });

    FW_UNROLL for (int i = 0; i < K / 8; i++)
      FW_UNROLL for (int e = 0; e < 4; e++) dstate[i][e] *= scores.through[kTokens - 1];
    Engine::begin();
    FW_UNROLL for (int k = 0; k < kTokens / 16; k++) {
      float right[2][4];
      FW_UNROLL for (int i = 0; i < 2; i++) {
        take_values(stage.right, 2 * k + i, right[i]);
        FW_UNROLL for (int e = 0; e < 4; e++) {
          const int t = 16 * k + 8 * i + own_token() + e % 2;
          right[i][e] *= p.scale * scores.through[t];
          if (p.erase) dwritten[2 * k + i][e] *= -scores.through[t] * scores.beta[t];
        }
      }
      multiply_twice(dstate, split(right, 0), stage.queries, k);
      if (p.erase) multiply_twice(dstate, split(dwritten, k), stage.keys, k);
    }
    Engine::end();
  }

  // The tile's rows are loaded twice: for more of them at a time there are no registers.
  static FW_DEVICE void multiply_twice(State<K>& sums, const Factors& left, const uint16_t* tile, int k) {
    Engine::columns(sums, left.high, tile, k);
    Engine::columns(sums, left.low, tile, k);
  }

  // P, which is kept.
  static FW_DEVICE void solve(const Work& work, int64_t place, const Scores& scores, const Rows& direct, Rows& dwritten) {
    each_token([&](int i, int e, int) { dwritten[i][e] = 0; });
    Engine::begin();
    FW_UNROLL for (int k = 0; k < kTokens / 16; k++) {
      const Factors left = split(direct, k);
      Engine::columns(dwritten, left.low, scores.solve, k, 16 * k + 16);
      Engine::columns(dwritten, left.high, scores.solve_low, k, 16 * k + 16);
      Engine::columns(dwritten, left.high, scores.solve, k, 16 * k + 16);
    }
    Engine::end();
    const Trace& trace = work.args.trace;
    uint16_t* const to = trace.dwritten + place * trace.dwritten_elements() + work.tile() * (2 * kSquare);
    put_tile(work.task, to, dwritten, to + kSquare);
  }
};

template <class Kernel>
void start(const Context& cx, const recurrenceBackwardArgs& args, const Problem& p, const Trace& trace,
           int64_t sequences, const Carry& carry) {
  launch<Kernel, kLargeSharedBytes>(cx, sequences * p.heads * blocks_of<Kernel>(p),
                                    {p, trace, args.dfinalState, args.dv, args.dinitialState, carry});
}

}  // namespace

template <int K>
void walk_back(const Context& cx, const recurrenceBackwardArgs& args, const Problem& p, const Trace& trace,
               int64_t sequences, const Carry& carry) {
  using Wide = WalkBack<K, 8, 2>;
  using Narrow = WalkBack<K, 4, 1>;
  if (is_wide<Wide, Narrow>(cx, p, sequences)) start<Wide>(cx, args, p, trace, sequences, carry);
  else start<Narrow>(cx, args, p, trace, sequences, carry);
}
template void walk_back<64>(const Context&, const recurrenceBackwardArgs&, const Problem&, const Trace&, int64_t,
                            const Carry&);
template void walk_back<128>(const Context&, const recurrenceBackwardArgs&, const Problem&, const Trace&, int64_t,
                             const Carry&);

}  // namespace fw::cuda::walk
