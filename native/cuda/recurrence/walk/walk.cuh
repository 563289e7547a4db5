// The walk through the chunks of a head, in bfloat16 (cuda.md 6.2). A warp has sixteen of the state's values, over all
// keys, as the sums of a product S^T: they stay in its registers, and no warp needs what another computes. Per chunk, with
// the tiles K, Q, V of its tokens and the scores of scores.cuh,
//   W^T = V^T - through (S^T K^T)      R^T = W^T solve^T [linear: V^T]
//   O^T = scale through (S^T Q^T) + R^T read^T      S^T <- through_last S^T + (rest R)^T K
// where a sum is packed into the left factor of the next product. What is written, R and W, are two numbers of bfloat16
// each: one is too few where strengths near 2, or keys that are alike, let it weigh more than what comes of it.
//
// A walk for the maps of segments (segments.cuh) reads nothing and writes no output. Beside blocks of values it has blocks
// of keys, whose columns begin as the identity's and have no values to take.
//
// Row g of a warp's sums is value 2 g, row g + 8 is 2 g + 1: a lane has neighbouring values, and no store is less than a
// pair.
#pragma once
#include "../../math.cuh"
#include "../groups.cuh"
#include "engine.cuh"
#include "pipeline.cuh"
#include "scores.cuh"
#include "segments.cuh"

namespace fw::cuda::walk {

template <int K, int kWarps, int kStages, bool kMaps>
struct Walk {
  using Engine = MmaEngine;
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
  static FW_HOST_DEVICE int64_t blocks_of(const Problem& p) {
    return (p.V + kValues - 1) / kValues + (kMaps && p.erase ? (K + kValues - 1) / kValues : 0);
  }
  struct alignas(128) Stage {
    uint16_t keys[kTokens * K], queries[kTokens * K], values[kTokens * kValues];
    Scores scores;
  };
  struct Shared {
    Stage stages[kStages];
  };

  // State and written values of a warp: sums whose columns are keys, or tokens.
  using State = float[K / 8][4];
  using Rows = float[kTokens / 8][4];

  // What does not change along the sequence. Tokens are counted from its first one.
  struct Work {
    const Args& args;
    Segment segment;
    int h, first, columns;  // first of the block's columns, and how many there are of them all
    bool identity;          // whether they are keys
    Source keys, queries, values;
    const Scores* scores;  // of its first chunk
    int64_t pair;          // where this lane's pair of values lies in [tokens, heads, V] for its first token

    // That pair among the block's values, and that token.
    FW_DEVICE static int value() { return 16 * warp() + lane() / 4 * 2; }
    FW_DEVICE static int token() { return lane() % 4 * 2; }
    FW_DEVICE bool live() const { return first + value() < columns; }
    FW_DEVICE int tokens(int64_t c) const {
      const int64_t left = segment.sequence.length - c * kTokens;
      return left < kTokens ? static_cast<int>(left) : kTokens;
    }
  };

  static FW_DEVICE void run(const Args& args, Shared& shared) {
    const Problem& p = args.p;
    const int64_t blocks = blocks_of(p), h = block() / blocks % p.heads, place = block() / blocks / p.heads;
    const int64_t before = args.carry.firstSequence;
    const Segment own = kMaps ? segment_before(p, args.cuts, before * args.cuts.each + place)
                              : segment_at(p, args.cuts, before * (args.cuts.each + 1) + place);
    const int among = static_cast<int>(block() % blocks), of_values = (p.V + kValues - 1) / kValues;
    const bool identity = kMaps && among >= of_values;
    if (!own.there || (identity && own.number == 0)) return;
    const int first = (among - (identity ? of_values : 0)) * kValues;
    const int64_t begin = own.sequence.begin, chunk = own.sequence.chunk - p.firstChunk;
    const Work work = {args,
                       own,
                       static_cast<int>(h),
                       first,
                       identity ? K : p.V,
                       identity,
                       source_of(p.k, p.heads, h, begin),
                       source_of(p.q, p.heads, h, begin),
                       source_of(p.v, p.heads, h, begin, first),
                       args.scores + chunk * p.heads + h,
                       ((begin + Work::token()) * p.heads + h) * p.V + first + Work::value()};
    State state;
    get_state(work, state);
    float decay = kMaps && !p.erase ? first_decay(work) : 1;
    Pipeline<kStages>::run(
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
    const int count = work.tokens(c);
    copy_rows<K, kThreads>(stage.keys, work.keys, begin, count);
    if (!kMaps) copy_rows<K, kThreads>(stage.queries, work.queries, begin, count);
    if (!work.identity) copy_rows<kValues, kThreads>(stage.values, work.values, begin, count, p.V - work.first);
    copy_scores<kThreads>(stage.scores, work.scores[c * p.heads], !kMaps, p.erase);
  }

  static FW_DEVICE void step(const Work& work, int64_t c, const Stage& stage, State& state) {
    const Problem& p = work.args.p;
    const Scores& scores = stage.scores;
    Rows written, errors = {};
    if (p.erase) multiply(errors, state, stage.keys);
    [[maybe_unused]] Rows output = {};
    if constexpr (!kMaps) {
      multiply(output, state, stage.queries);
      each_token([&](int i, int e, int t) { output[i][e] *= p.scale * scores.through[t]; });
    }
    if (p.erase) solve(work, stage, errors, written);
    else FW_UNROLL for (int i = 0; i < kTokens / 8; i++) take_values(stage, i, written[i]);
    if constexpr (!kMaps) {
      Engine::begin();
      FW_UNROLL for (int k = 0; k < kTokens / 16; k++) {
        const Factors left = split(written, k);
        multiply_exactly(output, left, scores.read, scores.read_low, k);
      }
      Engine::end();
      put_output(work, c, output);
      if (work.args.written.data) put_written(work, c, written);
    }

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

  // sums += S^T tile^T
  static FW_DEVICE void multiply(Rows& sums, const State& state, const uint16_t* tile) {
    Engine::begin();
    FW_UNROLL for (int k = 0; k < K / 16; k++) {
      uint32_t left[4];
      FW_UNROLL for (int i = 0; i < 4; i++) {
        const float* const pair = &state[2 * k + i / 2][i % 2 * 2];
        left[i] = toBfloat16Pair(pair[0], pair[1]);
      }
      Engine::rows(sums, left, tile, k);
    }
    Engine::end();
  }

  // Sixteen columns of sums as the left factor of a product over them.
  struct Factors {
    uint32_t high[4], low[4];
  };
  static FW_DEVICE Factors split(const Rows& sums, int k) {
    Factors left;
    FW_UNROLL for (int i = 0; i < 4; i++) {
      const float* const pair = &sums[2 * k + i / 2][i % 2 * 2];
      const PairSplit parts = splitPair(pair[0], pair[1]);
      left.high[i] = parts.high, left.low[i] = parts.low;
    }
    return left;
  }

  // With lower triangular tiles, of which the product of the low parts is too small to matter.
  static FW_DEVICE void multiply_exactly(Rows& sums, const Factors& left, const uint16_t* high, const uint16_t* low,
                                         int k) {
    Engine::rows(sums, left.low, high, k, 16 * k);
    Engine::rows(sums, left.high, low, k, 16 * k);
    Engine::rows(sums, left.high, high, k, 16 * k);
  }

  // Calls visit(i, e, t) for the elements of Rows and their tokens; elements 0 and 1 are the first value's.
  template <class Visit>
  static FW_DEVICE void each_token(const Visit& visit) {
    FW_UNROLL for (int i = 0; i < kTokens / 8; i++)
      FW_UNROLL for (int e = 0; e < 4; e++) visit(i, e, 8 * i + Work::token() + e % 2);
  }

  // Those of the tokens from 8 i on.
  static FW_DEVICE void take_values(const Stage& stage, int i, float (&values)[4]) {
    FW_UNROLL for (int e = 0; e < 2; e++) {
      const int place = moved(at(Work::token() + e, Work::value()), 8 * i, 0);
      const uint32_t pair = *reinterpret_cast<const uint32_t*>(stage.values + place);
      values[e] = firstOfPair(pair), values[e + 2] = secondOfPair(pair);
    }
  }

  // What a rule that erases writes, from S^T K^T.
  static FW_DEVICE void solve(const Work& work, const Stage& stage, Rows& errors, Rows& written) {
    const Scores& scores = stage.scores;
    each_token([&](int i, int e, int) { written[i][e] = 0; });
    Engine::begin();
    FW_UNROLL for (int k = 0; k < kTokens / 16; k++) {
      FW_UNROLL for (int i = 2 * k; i < 2 * k + 2; i++) {
        float values[4] = {};
        if (!work.identity) take_values(stage, i, values);
        FW_UNROLL for (int e = 0; e < 4; e++) {
          errors[i][e] = values[e] - scores.through[8 * i + Work::token() + e % 2] * errors[i][e];
        }
      }
      const Factors left = split(errors, k);
      multiply_exactly(written, left, scores.solve, scores.solve_low, k);
    }
    Engine::end();
  }

  // Calls visit(i, e, place) for the pairs of values of Rows and where they lie in [tokens, heads, V].
  template <class Visit>
  static FW_DEVICE void each_pair(const Work& work, int64_t c, const Visit& visit) {
    const Problem& p = work.args.p;
    const int64_t token = p.heads * p.V;
    const int tokens = work.live() ? work.tokens(c) - Work::token() : 0;
    int64_t place = work.pair + c * kTokens * token;
    FW_UNROLL for (int i = 0; i < kTokens / 8; i++) {
      if (8 * i < tokens) visit(i, 0, place);
      if (8 * i + 1 < tokens) visit(i, 1, place + token);
      place += 8 * token;
    }
  }
  static FW_DEVICE void put_output(const Work& work, int64_t c, const Rows& output) {
    uint16_t* const to = static_cast<uint16_t*>(work.args.output.data);
    each_pair(work, c, [&](int i, int e, int64_t place) {
      *reinterpret_cast<uint32_t*>(to + place) = toBfloat16Pair(output[i][e], output[i][e + 2]);
    });
  }
  static FW_DEVICE void put_written(const Work& work, int64_t c, const Rows& written) {
    each_pair(work, c, [&](int i, int e, int64_t place) {
      put_pair(work.args.written + place, written[i][e], written[i][e + 2]);
    });
  }
  static FW_DEVICE void put_pair(float* to, float x, float y) { *reinterpret_cast<float2*>(to) = make_float2(x, y); }

  // Calls visit(i, e, place) for the pairs of columns of a state and where they lie in row `row` of
  // [rows, heads, K, columns].
  template <class Visit>
  static FW_DEVICE void each_key(const Work& work, int64_t row, const Visit& visit) {
    if (!work.live()) return;
    int64_t place =
        ((row * work.args.p.heads + work.h) * K + Work::token()) * work.columns + work.first + Work::value();
    FW_UNROLL for (int i = 0; i < K / 8; i++) {
      visit(i, 0, place);
      visit(i, 1, place + work.columns);
      place += 8 * work.columns;
    }
  }

  // What the group before has left; else the identity, the state at the cut before, or the initial state of the sequence,
  // if it has one. A map's segments begin with no state but for the first, whose end is the state at its cut.
  static FW_DEVICE void get_state(const Work& work, State& state) {
    const Args& args = work.args;
    const Segment& own = work.segment;
    const int column = work.first + Work::value();
    FW_UNROLL for (int i = 0; i < K / 8; i++) {
      FW_UNROLL for (int e = 0; e < 4; e++) {
        state[i][e] = work.identity && 8 * i + Work::token() + e % 2 == column + e / 2 ? 1 : 0;
      }
    }
    In from = args.p.initialState;
    int64_t row = own.n;
    if (!own.begins && kMaps) from = {work.identity ? args.cuts.maps : args.cuts.states, kFloat32}, row = own.cut;
    else if (!own.begins) from = {args.carry.carried, kFloat32}, row = 0;
    else if (own.number > 0 && kMaps) return;
    else if (own.number > 0) from = {args.cuts.states, kFloat32}, row = own.cut - 1;
    if (!from.data) return;
    each_key(work, row, [&](int i, int e, int64_t at) {
      state[i][e] = load(from, at), state[i][e + 2] = load(from, at + 1);
    });
  }

  static FW_DEVICE void put_state(const Work& work, float* to, int64_t row, const State& state) {
    each_key(work, row, [&](int i, int e, int64_t place) {
      put_pair(to + place, flushed(state[i][e]), flushed(state[i][e + 2]));
    });
  }

  // The map of a rule that does not erase is a number, the product of the chunks' last `through`.
  static FW_DEVICE float* decay_of(const Work& work) {
    return work.args.cuts.maps + work.segment.cut * work.args.p.heads + work.h;
  }
  // The first block of values keeps it.
  static FW_DEVICE float first_decay(const Work& work) {
    return work.segment.begins || work.first > 0 ? 1 : *decay_of(work);
  }
  static FW_DEVICE void put_map(const Work& work, const State& state, float decay) {
    const Cuts& cuts = work.args.cuts;
    put_state(work, work.identity ? cuts.maps : cuts.states, work.segment.cut, state);
    if (!work.args.p.erase && work.first == 0 && thread() == 0) *decay_of(work) = decay;
  }
};

}  // namespace fw::cuda::walk
