// The walk from the last chunk of a head to the first: the mirror image of walk.cu, with the gradient of the state, dS^T, in
// the registers of a warp. Per chunk, with the tiles K, Q, dO of its tokens and the scores of scores.cuh,
//   dN^T = rest (dS^T K^T) + dO^T read      P^T = dN^T (I + A)^-1 [linear: dN^T]      dV = beta P
//   dS^T <- through_last dS^T + (scale through dO)^T Q - (beta through P)^T K
#include "../../math.cuh"
#include "backward.cuh"
#include "rows.cuh"

namespace fw::cuda::float32 {
namespace {

template <int K>
struct WalkBack {
  static constexpr int kThreads = float32::kThreads, kAtOnce = 2;
  struct Args {
    Problem p;
    Trace trace;
    InMaybe dfinalState;
    Out dv;
    OutMaybe dinitialState;
    Carry carry;
  };
  using Shared = Stages<K>;

  // What does not change along the sequence.
  struct Work {
    const Args& args;
    Task task;
    int64_t chunk;  // the sequence's first, among those of the group

    FW_DEVICE int64_t place(int64_t c) const { return (chunk + c) * args.p.heads + task.h; }
  };

  static FW_DEVICE void run(const Args& args, Shared& shared) {
    const Problem& p = args.p;
    const int blocks = (p.V + kValues - 1) / kValues;
    const int64_t h = block() / blocks % p.heads, n = args.carry.firstSequence + block() / blocks / p.heads;
    const Portion own = portion_at<kTokens>(p, n);
    if (!own.there) return;
    const Work work = {args, task_of(p, own.sequence, n, h, static_cast<int>(block() % blocks) * kValues),
                       own.sequence.chunk - p.firstChunk};
    shared.begin(work.task, own.sequence.begin, p.right, args.trace.scores + work.place(0));
    State<K> dstate;
    if (own.ends) get_state<K>(work.task, args.dfinalState, n, dstate);
    else get_state<K>(work.task, {args.carry.carried, kFloat32}, 0, dstate);
    const int64_t last = own.begin + own.end - 1;
    Pipeline<K>::run(
        own.begin, own.end, [&](int64_t step, int stage) { shared.fill(work.task, last - step, stage); },
        [&](int64_t step, int stage) { through_chunk(work, last - step, shared.stages[stage], dstate); });
    if (!own.begins) put_state<K>(work.task, {args.carry.carry, kFloat32}, 0, dstate);
    else if (args.dinitialState.data) put_state<K>(work.task, args.dinitialState, n, dstate);
  }

  static FW_DEVICE void through_chunk(const Work& work, int64_t c, const Stage<K>& stage, State<K>& dstate) {
    const Problem& p = work.args.p;
    const Scores& scores = stage.scores;
    put_state<K>(work.task, {work.args.trace.dstates, kFloat32}, work.chunk + c, dstate);
    Rows right, dwritten = {};
    take_values(right, stage.values);
    multiply_state<K>(dwritten, dstate, stage.keys);
    Part read;
    add_turned(read, right, scores.read);
    each_token([&](int i, int e, int t) { dwritten[i][e] = scores.rest[t] * dwritten[i][e] + read.total(i, e); });
    if (p.erase) {
      solve<Direction::kBack>(dwritten, scores);
      put_dwritten(work, c, dwritten);
    }
    put_values(work, c, scores, dwritten);

    scale<K>(dstate, scores.through[kTokens - 1]);
    each_token([&](int i, int e, int t) {
      right[i][e] *= p.scale * scores.through[t];
      dwritten[i][e] *= -scores.beta[t] * scores.through[t];
    });
    add_product<K>(dstate, right, stage.queries);
    if (p.erase) add_product<K>(dstate, dwritten, stage.keys);
  }

  static FW_DEVICE void put_dwritten(const Work& work, int64_t c, const Rows& dwritten) {
    if (!work.task.live()) return;
    const int64_t V = work.args.p.V, first = work.task.first + own_value();
    float* const to = work.args.trace.dwritten + (work.place(c) * kTokens + own_token()) * V + first;
    FW_UNROLL for (int i = 0; i < kBlocks; i++) {
      FW_UNROLL for (int e = 0; e < 2; e++) put_pair(to + (8 * i + e) * V, dwritten[i][e], dwritten[i][e + 2]);
    }
  }

  static FW_DEVICE void put_values(const Work& work, int64_t c, const Scores& scores, const Rows& dwritten) {
    work.task.template each_pair<kTokens>(c, [&](int i, int e, int64_t place) {
      const float beta = work.args.p.erase ? scores.beta[8 * i + own_token() + e] : 1;
      put_pair(work.args.dv, place, beta * dwritten[i][e], beta * dwritten[i][e + 2]);
    });
  }
};

}  // namespace

template <int K>
void walk_back(const Context& cx, const recurrenceBackwardArgs& args, const Problem& p, const Trace& trace,
               int64_t sequences, const Carry& carry) {
  const int64_t blocks = (p.V + kValues - 1) / kValues;
  launch<WalkBack<K>>(cx, sequences * p.heads * blocks,
                      {p, trace, args.dfinalState, args.dv, args.dinitialState, carry});
}
template void walk_back<64>(const Context&, const recurrenceBackwardArgs&, const Problem&, const Trace&, int64_t,
                            const Carry&);
template void walk_back<128>(const Context&, const recurrenceBackwardArgs&, const Problem&, const Trace&, int64_t,
                             const Carry&);

}  // namespace fw::cuda::float32
