// The walk through the chunks of a head, in bfloat16 (cuda.md 6.2). A warp has sixteen of the state's values, over all
// keys, as the sums of a product S^T: they stay in its registers. Per chunk, with the tiles K, Q, V of its tokens and the
// scores of scores.cuh,
//   W^T = V^T - through (S^T K^T)      R^T = W^T solve^T [linear: V^T]
//   O^T = scale through (S^T Q^T) + R^T read^T      S^T <- through_last S^T + (rest R)^T K
// where a sum is packed into the left factor of the next product. What is written, R and W, are two numbers of bfloat16
// each: one is too few where strengths near 2, or keys that are alike, let it weigh more than what comes of it.
#include "../../math.cuh"
#include "../groups.cuh"
#include "../ways.h"
#include "calls.cuh"
#include "pipeline.cuh"
#include "rows.cuh"

namespace fw::cuda {
namespace walk {
namespace {

template <int K, int kWarps, int kStages>
struct Walk {
  static constexpr int kThreads = kWarps * kWarp, kValues = 16 * kWarps;
  struct Args {
    Problem p;
    const Scores* scores;
    Out output;
    OutMaybe finalState, states, written;
    Carry carry;
  };
  struct alignas(128) Stage {
    uint16_t keys[kTokens * K], queries[kTokens * K], values[kTokens * kValues];
    Scores scores;
  };
  struct Shared {
    Stage stages[kStages];
  };

  // What does not change along the sequence.
  struct Work {
    const Args& args;
    Task task;
    Source keys, queries, values;
    const Scores* scores;  // of its first chunk
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
                       source_of(p.v, p.heads, h, begin, first),
                       args.scores + chunk * p.heads + h};
    State<K> state;
    get_state(work, own.begins, state);
    Pipeline<kStages>::run(
        own.begin, own.end, [&](int64_t c, int stage) { fill(work, c, shared.stages[stage]); },
        [&](int64_t c, int stage) {
          if (args.states.data) put_state(work, args.states, checkpoint_row(p, n, c), state);
          step(work, c, shared.stages[stage], state);
        });
    if (!own.ends) put_state(work, args.carry.carry, 0, state);
    else if (args.finalState.data) put_state(work, args.finalState, n, state);
  }

  static FW_DEVICE void fill(const Work& work, int64_t c, Stage& stage) {
    const Problem& p = work.args.p;
    const int64_t begin = c * kTokens;
    const int count = work.task.tokens(c);
    copy_rows<K, kThreads>(stage.keys, work.keys, begin, count);
    copy_rows<K, kThreads>(stage.queries, work.queries, begin, count);
    copy_rows<kValues, kThreads>(stage.values, work.values, begin, count, p.V - work.task.first);
    copy_scores<Direction::kOn, kThreads>(stage.scores, work.scores[c * p.heads], p.erase);
  }

  static FW_DEVICE void step(const Work& work, int64_t c, const Stage& stage, State<K>& state) {
    const Problem& p = work.args.p;
    const Scores& scores = stage.scores;
    Rows output = {}, written, errors = {};
    if (p.erase) multiply_state(errors, state, stage.keys);
    multiply_state(output, state, stage.queries);
    each_token([&](int i, int e, int t) { output[i][e] *= p.scale * scores.through[t]; });
    if (p.erase) solve(stage, errors, written);
    else FW_UNROLL for (int i = 0; i < kTokens / 8; i++) take_values(stage.values, i, written[i]);

    Engine::begin();
    FW_UNROLL for (int k = 0; k < kTokens / 16; k++) {
      multiply_exactly(output, split(written, k), scores.read, scores.read_low, k);
    }
    Engine::end();
    put_output(work, c, output);
    if (work.args.written.data) put_written(work, c, written);

    each_token([&](int i, int e, int t) { written[i][e] *= scores.rest[t]; });
    FW_UNROLL for (int i = 0; i < K / 8; i++)
      FW_UNROLL for (int e = 0; e < 4; e++) state[i][e] *= scores.through[kTokens - 1];
    Engine::begin();
    FW_UNROLL for (int k = 0; k < kTokens / 16; k++) {
      const Factors left = split(written, k);
      Engine::columns(state, left.high, stage.keys, k);
      Engine::columns(state, left.low, stage.keys, k);
    }
    Engine::end();
  }

  // With the transpose of lower triangular tiles, of which the product of the low parts is too small to matter.
  static FW_DEVICE void multiply_exactly(Rows& sums, const Factors& left, const uint16_t* high, const uint16_t* low,
                                         int k) {
    Engine::rows(sums, left.low, high, k, 16 * k);
    Engine::rows(sums, left.high, low, k, 16 * k);
    Engine::rows(sums, left.high, high, k, 16 * k);
  }

  // What a rule that erases writes, from S^T K^T.
  static FW_DEVICE void solve(const Stage& stage, Rows& errors, Rows& written) {
    const Scores& scores = stage.scores;
    each_token([&](int i, int e, int) { written[i][e] = 0; });
    Engine::begin();
    FW_UNROLL for (int k = 0; k < kTokens / 16; k++) {
      FW_UNROLL for (int i = 2 * k; i < 2 * k + 2; i++) {
        float values[4];
        take_values(stage.values, i, values);
        FW_UNROLL for (int e = 0; e < 4; e++) {
          errors[i][e] = values[e] - scores.through[8 * i + own_token() + e % 2] * errors[i][e];
        }
      }
      multiply_exactly(written, split(errors, k), scores.solve, scores.solve_low, k);
    }
    Engine::end();
  }

  static FW_DEVICE void put_output(const Work& work, int64_t c, const Rows& output) {
    work.task.each_pair(c, [&](int i, int e, int64_t place) {
      uint16_t* const to = static_cast<uint16_t*>(work.args.output.data);
      *reinterpret_cast<uint32_t*>(to + place) = toBfloat16Pair(output[i][e], output[i][e + 2]);
    });
  }
  static FW_DEVICE void put_written(const Work& work, int64_t c, const Rows& written) {
    work.task.each_pair(c, [&](int i, int e, int64_t place) {
      put_pair(work.args.written + place, written[i][e], written[i][e + 2]);
    });
  }

  static FW_DEVICE void get_state(const Work& work, bool begins, State<K>& state) {
    FW_UNROLL for (int i = 0; i < K / 8; i++)
      FW_UNROLL for (int e = 0; e < 4; e++) state[i][e] = 0;
    const Args& args = work.args;
    In from = args.p.initialState;
    if (!begins) from.data = args.carry.carried, from.dtype = kFloat32;
    if (!from.data) return;
    work.task.template each_key<K>(begins ? work.task.n : 0, [&](int i, int e, int64_t place) {
      state[i][e] = load(from, place), state[i][e + 2] = load(from, place + 1);
    });
  }

  static FW_DEVICE void put_state(const Work& work, float* to, int64_t row, const State<K>& state) {
    work.task.template each_key<K>(row, [&](int i, int e, int64_t place) {
      put_pair(to + place, flushed(state[i][e]), flushed(state[i][e + 2]));
    });
  }
};

template <class Kernel>
void start(const Context& cx, const recurrenceArgs& args, const Problem& p, const Scores* scores, int64_t sequences,
           const Carry& carry) {
  launch<Kernel, kLargeSharedBytes>(cx, sequences * p.heads * blocks_of<Kernel>(p),
                                    {p, scores, args.output, args.finalState, args.states, args.written, carry});
}

}  // namespace
}  // namespace walk

template <int K>
bool takes_bfloat16(const recurrenceArgs& args) {
  return walk::takes_operands<K>(args) && args.output.dtype == kBfloat16 && args.finalState.dtype == kFloat32 &&
         args.states.dtype == kFloat32 && args.written.dtype == kFloat32;
}

template <int K>
void forward_bfloat16(const Context& cx, const recurrenceArgs& args) {
  using namespace walk;
  using Wide = Walk<K, 8, 2>;
  using Narrow = Walk<K, 4, 1>;
  Problem p = with_chunks(cx, decode(args), args.offsets, args.tokens, args.checkpointEvery, kTokens);
  p.initialState = args.initialState;
  const int64_t at_once = chunks_at_once(cx, p, p.heads * static_cast<int64_t>(sizeof(Scores)));
  Scores* const scores = cx.scratch_of<Scores>(at_once * p.heads);
  each_group(cx, p, at_once, Direction::kOn, [&](const Problem& group, int64_t sequences, const Carry& carry) {
    if (p.chunks > 0) prepare<K>(cx, group, scores, Direction::kOn);
    if (is_wide<Wide, Narrow>(cx, group, sequences)) start<Wide>(cx, args, group, scores, sequences, carry);
    else start<Narrow>(cx, args, group, scores, sequences, carry);
  });
}

template bool takes_bfloat16<64>(const recurrenceArgs&);
template bool takes_bfloat16<128>(const recurrenceArgs&);
template void forward_bfloat16<64>(const Context&, const recurrenceArgs&);
template void forward_bfloat16<128>(const Context&, const recurrenceArgs&);

}  // namespace fw::cuda
