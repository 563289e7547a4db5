// The walk through the chunks of a head, in bfloat16 (cuda.md 6.2). A warp has sixteen of the state's values, over all
// keys, as the sums of a product S^T: they stay in its registers. Per chunk, with the tiles K, Q, V of its tokens and the
// scores of scores.cuh,
//   W^T = V^T - through (S^T K^T)      R^T = W^T solve^T [linear: V^T]
//   O^T = scale through (S^T Q^T) + R^T read^T      S^T <- through_last S^T + (rest R)^T K
// where a sum is packed into the left factor of the next product. What is written, R and W, are two numbers of bfloat16
// each: one is too few where strengths near 2, or keys that are alike, let it weigh more than what comes of it.
//
// A walk for the maps of segments (segments.cuh) reads nothing and writes no output. Beside blocks of values it has blocks
// of keys, whose columns begin as the identity's and have no values to take.
#pragma once
#include "../../math.cuh"
#include "../groups.cuh"
#include "pipeline.cuh"
#include "rows.cuh"
#include "segments.cuh"

namespace fw::cuda::walk {

template <int K, int kWarps, int kStages, bool kMaps, class Engine>
struct Walk {
  static constexpr int kThreads = kWarps * kWarp, kValues = 16 * kWarps;
  struct Args {
    Problem p;
    const Scores* scores;
    Cuts cuts;
    Out output;
    OutMaybe finalState, states, written;
    Carry carry;
  };
  // Blocks for all columns of a segment's head.
  static FW_HOST_DEVICE int64_t blocks_for(const Problem& p) {
    return (p.V + kValues - 1) / kValues + (kMaps && p.erase ? (K + kValues - 1) / kValues : 0);
  }
  using OfChunk = std::conditional_t<kMaps, WriteScores, Scores>;
  using StateFactors = typename Engine::template Rounded<K / 8>;
  struct Nothing {};
  struct Queries {
    alignas(1024) uint16_t queries[kTokens * K];
  };
  struct Stage : std::conditional_t<kMaps, Nothing, Queries> {
    alignas(1024) uint16_t keys[kTokens * K];
    uint16_t values[kTokens * kValues];
    OfChunk scores;
  };
  struct Shared {
    Stage stages[kStages];
  };

  // What does not change along the sequence.
  struct Work {
    const Args& args;
    Task task;
    Segment segment;
    bool identity;  // whether the block's columns are keys
    Source keys, queries, values;
    const Scores* scores;  // of its first chunk
  };

  static FW_DEVICE void run(const Args& args, Shared& shared) {
    const Problem& p = args.p;
    const int64_t blocks = blocks_for(p), h = block() / blocks % p.heads, place = block() / blocks / p.heads;
    const int64_t before = args.carry.firstSequence;
    const Segment own = kMaps ? segment_before(p, args.cuts, before * args.cuts.each + place)
                              : segment_at(p, args.cuts, before * (args.cuts.each + 1) + place);
    const int among = static_cast<int>(block() % blocks), of_values = (p.V + kValues - 1) / kValues;
    const bool identity = kMaps && among >= of_values;
    if (!own.there || (identity && own.number == 0)) return;
    const int first = (among - (identity ? of_values : 0)) * kValues;
    const int64_t begin = own.sequence.begin, chunk = own.sequence.chunk - p.firstChunk;
    Work work = {args,
                 task_of(p, own.sequence, own.n, h, first),
                 own,
                 identity,
                 source_of(p.k, p.heads, h, begin),
                 source_of(p.q, p.heads, h, begin),
                 source_of(p.v, p.heads, h, begin, first),
                 args.scores + chunk * p.heads + h};
    if (identity) work.task.columns = K;
    State<K> state;
    get_state(work, state);
    float decay = kMaps && !p.erase ? first_decay(work) : 1;
    for (Stage& stage : shared.stages) clear_upper(stage.scores, Engine::kWholeColumns);
    Pipeline<kStages, Engine>::run(
        own.begin, own.end, [&](int64_t c, int stage) { fill(work, c, shared.stages[stage]); },
        [&](int64_t c, int stage) {
          if constexpr (kMaps) decay *= shared.stages[stage].scores.through[kTokens - 1];
          else if (args.states.data) put_state(work, args.states, checkpoint_row(p, own.n, c), state);
          step(work, c, shared.stages[stage], state);
        });
    if constexpr (kMaps) put_map(work, state, decay);
    else if (!own.ends) put_state(work, args.carry.carry, 0, state);
    else if (own.last && args.finalState.data) put_state(work, args.finalState, own.n, state);
  }

  static FW_DEVICE void fill(const Work& work, int64_t c, Stage& stage) {
    const Problem& p = work.args.p;
    const int64_t begin = c * kTokens;
    const int count = work.task.tokens(c);
    copy_rows<K, kThreads>(stage.keys, work.keys, begin, count);
    if constexpr (!kMaps) copy_rows<K, kThreads>(stage.queries, work.queries, begin, count);
    if (!work.identity) copy_rows<kValues, kThreads>(stage.values, work.values, begin, count, p.V - work.task.first);
    copy_scores<Direction::kOn, kThreads>(stage.scores, work.scores[c * p.heads], p.erase);
  }

  // Products are under way while the warp computes what does not depend on them.
  static FW_DEVICE void step(const Work& work, int64_t c, const Stage& stage, State<K>& state) {
    const OfChunk& scores = stage.scores;
    Rows written;
    [[maybe_unused]] Rows output = {};
    if (work.args.p.erase) erase(work, stage, state, output, written);
    else append(work, stage, state, output, written);
    if constexpr (!kMaps) {
      if (work.args.written.data) put_written(work, c, written);
      Factors for_output[kTokens / 16];
      split_all(for_output, written);
      Engine::begin(output);
      multiply_exactly<Engine>(output, for_output, scores.read, scores.read_low);
      Engine::close();
    }
    Factors for_state[kTokens / 16];
    each_token([&](int i, int e, int t) { written[i][e] *= scores.rest[t]; });
    split_all(for_state, written);
    Engine::begin(state);
    FW_UNROLL for (int k = 0; k < kTokens / 16; k++) Engine::columns(state, for_state[k], stage.keys, k);
    Engine::close();
    if constexpr (!kMaps) {
      Engine::template end<1>(output);
      put_output(work, c, output);
    }
    Engine::end(state);
  }

  // What a rule that erases writes, and what is read of the state, which goes through the chunk.
  static FW_DEVICE void erase(const Work& work, const Stage& stage, State<K>& state, [[maybe_unused]] Rows& output,
                              Rows& written) {
    const OfChunk& scores = stage.scores;
    Rows errors = {};
    const StateFactors of_state{state};
    if constexpr (kMaps) Engine::begin(errors);
    else Engine::begin(errors, output);
    multiply_all<Engine, K>(errors, of_state, stage.keys);
    if constexpr (!kMaps) multiply_all<Engine, K>(output, of_state, stage.queries);
    Engine::close();
    if constexpr (kMaps) Engine::end(errors);
    else Engine::end(errors, output);
    FW_UNROLL for (int i = 0; i < kTokens / 8; i++) {
      float values[4] = {};
      if (!work.identity) take_values(stage.values, i, values);
      FW_UNROLL for (int e = 0; e < 4; e++) {
        errors[i][e] = values[e] - scores.through[8 * i + own_token() + e % 2] * errors[i][e];
      }
    }
    Factors left[kTokens / 16];
    split_all(left, errors);
    each_token([&](int i, int e, int) { written[i][e] = 0; });
    Engine::begin(written);
    multiply_exactly<Engine>(written, left, scores.solve, scores.solve_low);
    Engine::close();
    pass_through(scores, state);
    if constexpr (!kMaps) weigh(work, scores, output);
    Engine::end(written);
  }

  // The same of a rule that erases nothing.
  static FW_DEVICE void append(const Work& work, const Stage& stage, State<K>& state, [[maybe_unused]] Rows& output,
                               Rows& written) {
    if constexpr (!kMaps) {
      const StateFactors of_state{state};
      Engine::begin(output);
      multiply_all<Engine, K>(output, of_state, stage.queries);
      Engine::close();
    }
    pass_through(stage.scores, state);
    FW_UNROLL for (int i = 0; i < kTokens / 8; i++) take_values(stage.values, i, written[i]);
    if constexpr (!kMaps) {
      Engine::end(output);
      weigh(work, stage.scores, output);
    }
  }

  static FW_DEVICE void pass_through(const OfChunk& scores, State<K>& state) {
    FW_UNROLL for (int i = 0; i < K / 8; i++)
      FW_UNROLL for (int e = 0; e < 4; e++) state[i][e] *= scores.through[kTokens - 1];
  }
  static FW_DEVICE void weigh(const Work& work, const OfChunk& scores, Rows& output) {
    each_token([&](int i, int e, int t) { output[i][e] *= work.args.p.scale * scores.through[t]; });
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

  // What the group before has left; else the identity, the state at the cut before, or the initial state of the sequence,
  // if it has one. A map's segments begin with no state but for the first, whose end is the state at its cut.
  static FW_DEVICE void get_state(const Work& work, State<K>& state) {
    const Args& args = work.args;
    const Segment& own = work.segment;
    const int column = work.task.first + own_value();
    FW_UNROLL for (int i = 0; i < K / 8; i++) {
      FW_UNROLL for (int e = 0; e < 4; e++) {
        state[i][e] = work.identity && 8 * i + own_token() + e % 2 == column + e / 2 ? 1 : 0;
      }
    }
    In from = args.p.initialState;
    int64_t row = own.n;
    if (!own.begins && kMaps) from = {work.identity ? args.cuts.maps : args.cuts.states, kFloat32}, row = own.cut;
    else if (!own.begins) from = {args.carry.carried, kFloat32}, row = 0;
    else if (own.number > 0 && kMaps) return;
    else if (own.number > 0) from = {args.cuts.states, kFloat32}, row = own.cut - 1;
    if (!from.data) return;
    work.task.template each_key<K>(row, [&](int i, int e, int64_t at) {
      state[i][e] = load(from, at), state[i][e + 2] = load(from, at + 1);
    });
  }

  static FW_DEVICE void put_state(const Work& work, float* to, int64_t row, const State<K>& state) {
    work.task.template each_key<K>(row, [&](int i, int e, int64_t place) {
      put_pair(to + place, flushed(state[i][e]), flushed(state[i][e + 2]));
    });
  }

  // The map of a rule that does not erase is a number, the product of the chunks' last `through`.
  static FW_DEVICE float* decay_of(const Work& work) {
    return work.args.cuts.maps + work.segment.cut * work.args.p.heads + work.task.h;
  }
  // The first block of values keeps it.
  static FW_DEVICE float first_decay(const Work& work) {
    return work.segment.begins || work.task.first > 0 ? 1 : *decay_of(work);
  }
  static FW_DEVICE void put_map(const Work& work, const State<K>& state, float decay) {
    const Cuts& cuts = work.args.cuts;
    put_state(work, work.identity ? cuts.maps : cuts.states, work.segment.cut, state);
    if (!work.args.p.erase && work.task.first == 0 && thread() == 0) *decay_of(work) = decay;
  }
};

}  // namespace fw::cuda::walk
