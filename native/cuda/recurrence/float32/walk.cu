// The forward pass in float32: the walk of walk/walk.cuh in chunks of 32 tokens, with products exact to float32. Per chunk, with
// the tiles K, Q, V of its tokens and the scores of scores.cuh,
//   W^T = beta (V^T - through (S^T K^T))      R^T = W^T (I + A)^-T [linear: V^T]
//   O^T = scale through (S^T Q^T) + R^T read^T      S^T <- through_last S^T + (rest R)^T K
#include "../../math.cuh"
#include "../groups.cuh"
#include "../ways.h"
#include "calls.cuh"
#include "rows.cuh"

namespace fw::cuda {
namespace float32 {
namespace {

template <int K>
struct Walk {
  static constexpr int kThreads = float32::kThreads, kAtOnce = 2;
  struct Args {
    Problem p;
    const Scores* scores;
    Out output;
    OutMaybe finalState, states, written;
    Carry carry;
  };
  using Shared = Stages<K>;

  static FW_DEVICE void run(const Args& args, Shared& shared) {
    const Problem& p = args.p;
    const int blocks = (p.V + kValues - 1) / kValues;
    const int64_t h = block() / blocks % p.heads, n = args.carry.firstSequence + block() / blocks / p.heads;
    const Portion own = portion_at<kTokens>(p, n);
    if (!own.there) return;
    const Task task = task_of(p, own.sequence, n, h, static_cast<int>(block() % blocks) * kValues);
    shared.begin(task, own.sequence.begin, p.v, args.scores + (own.sequence.chunk - p.firstChunk) * p.heads + h);
    State<K> state;
    if (own.begins) get_state<K>(task, p.initialState, n, state);
    else get_state<K>(task, {args.carry.carried, kFloat32}, 0, state);
    Pipeline<K>::run(
        own.begin, own.end, [&](int64_t c, int stage) { shared.fill(task, c, stage); },
        [&](int64_t c, int stage) {
          if (args.states.data && c % 2 == 0) put_state<K>(task, args.states, checkpoint_row(p, n, c / 2), state);
          step(args, task, c, shared.stages[stage], state);
        });
    if (!own.ends) put_state<K>(task, {args.carry.carry, kFloat32}, 0, state);
    else if (args.finalState.data) put_state<K>(task, args.finalState, n, state);
  }

  static FW_DEVICE void step(const Args& args, const Task& task, int64_t c, const Stage<K>& stage, State<K>& state) {
    const Scores& scores = stage.scores;
    Rows written;
    take_values(written, stage.values);
    if (args.p.erase) erase(stage, state, written);
    if (args.written.data) put(task, c, args.written, written);
    read(args, task, c, stage, state, written);
    each_token([&](int i, int e, int t) { written[i][e] *= scores.rest[t]; });
    scale<K>(state, scores.through[kTokens - 1]);
    add_product<K>(state, written, stage.keys);
  }

  // What a rule that erases writes in place of the values.
  static FW_DEVICE void erase(const Stage<K>& stage, State<K>& state, Rows& values) {
    const Scores& scores = stage.scores;
    Rows known = {};
    multiply_state<K>(known, state, stage.keys);
    each_token([&](int i, int e, int t) {
      values[i][e] = scores.beta[t] * (values[i][e] - scores.through[t] * known[i][e]);
    });
    solve<Direction::kOn>(values, scores);
  }

  static FW_DEVICE void read(const Args& args, const Task& task, int64_t c, const Stage<K>& stage,
                             State<K>& state, const Rows& written) {
    Rows output = {};
    multiply_state<K>(output, state, stage.queries);
    Part part;
    add_lower(part, written, stage.scores.read);
    each_token([&](int i, int e, int t) {
      output[i][e] = args.p.scale * stage.scores.through[t] * output[i][e] + part.total(i, e);
    });
    put(task, c, args.output, output);
  }
  static FW_DEVICE void put(const Task& task, int64_t c, float* to, const Rows& rows) {
    task.template each_pair<kTokens>(c, [&](int i, int e, int64_t place) {
      put_pair(to + place, rows[i][e], rows[i][e + 2]);
    });
  }
};

}  // namespace
}  // namespace float32

template <int K>
bool takes_float32(const recurrenceArgs& args) {
  return float32::takes_operands<K>(args) && args.output.dtype == kFloat32;
}

template <int K>
void forward_float32(const Context& cx, const recurrenceArgs& args) {
  using namespace float32;
  Problem p = with_chunks(cx, decode(args), args.offsets, args.tokens, args.checkpointEvery, kTokens);
  p.initialState = args.initialState;
  const int64_t at_once = chunks_at_once(cx, p, p.heads * static_cast<int64_t>(sizeof(Scores)));
  const int64_t blocks = (p.V + kValues - 1) / kValues;
  Scores* const scores = cx.scratch_of<Scores>(at_once * p.heads);
  each_group(cx, p, at_once, Direction::kOn, [&](const Problem& group, int64_t sequences, const Carry& carry) {
    if (p.chunks > 0) prepare<K>(cx, group, scores, Direction::kOn);
    launch<Walk<K>>(cx, sequences * p.heads * blocks,
                    {group, scores, args.output, args.finalState, args.states, args.written, carry});
  });
}

template bool takes_float32<64>(const recurrenceArgs&);
template bool takes_float32<128>(const recurrenceArgs&);
template void forward_float32<64>(const Context&, const recurrenceArgs&);
template void forward_float32<128>(const Context&, const recurrenceArgs&);

}  // namespace fw::cuda
