// The walk through the chunks of a head, in bfloat16 (cuda.md 6.2). A warp has sixteen of the state's values, over all
// keys, as the sums of a product S^T: they stay in its registers, and no warp needs what another computes. Per chunk, with
// the tiles K, Q, V of its tokens and the scores of scores.cuh,
//   W^T = V^T - through (S^T K^T)      R^T = W^T solve^T [linear: V^T]
//   O^T = scale through (S^T Q^T) + R^T read^T      S^T <- through_last S^T + (rest R)^T K
// where a sum is packed into the left factor of the next product. What is written, R and W, are two numbers of bfloat16
// each: one is too few where strengths near 2, or keys that are alike, let it weigh more than what comes of it.
//
// Row g of a warp's sums is value 2 g, row g + 8 is 2 g + 1: a lane has neighbouring values, and no store is less than a
// pair.
#include "../../math.cuh"
#include "../forward.h"
#include "../groups.cuh"
#include "engine.cuh"
#include "pipeline.cuh"
#include "scores.cuh"

namespace fw::cuda {
namespace walk {
namespace {

template <int K, int kWarps, int kStages>
struct Walk {
  using Engine = MmaEngine;
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

  // State and written values of a warp: sums whose columns are keys, or tokens.
  using State = float[K / 8][4];
  using Rows = float[kTokens / 8][4];

  // What does not change along the sequence. Tokens are counted from its first one.
  struct Work {
    const Args& args;
    int64_t n, length;
    int h, first;  // first of the block's values
    Source keys, queries, values;
    const Scores* scores;  // of its first chunk
    int64_t pair;          // where this lane's pair of values lies in [tokens, heads, V] for its first token

    // That pair among the block's values, and that token.
    FW_DEVICE static int value() { return 16 * warp() + lane() / 4 * 2; }
    FW_DEVICE static int token() { return lane() % 4 * 2; }
    FW_DEVICE bool live() const { return first + value() < args.p.V; }
    FW_DEVICE int tokens(int64_t c) const {
      const int64_t left = length - c * kTokens;
      return left < kTokens ? static_cast<int>(left) : kTokens;
    }
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
                       n,
                       own.sequence.length,
                       static_cast<int>(h),
                       first,
                       source_of(p.k, p.heads, h, begin),
                       source_of(p.q, p.heads, h, begin),
                       source_of(p.v, p.heads, h, begin, first),
                       args.scores + chunk * p.heads + h,
                       ((begin + Work::token()) * p.heads + h) * p.V + first + Work::value()};
    State state;
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
    const int count = work.tokens(c);
    copy_rows<K, kThreads>(stage.keys, work.keys, begin, count);
    copy_rows<K, kThreads>(stage.queries, work.queries, begin, count);
    copy_rows<kValues, kThreads>(stage.values, work.values, begin, count, p.V - work.first);
    copy_scores<kThreads>(stage.scores, work.scores[c * p.heads], p.erase);
  }

  static FW_DEVICE void step(const Work& work, int64_t c, const Stage& stage, State& state) {
    const Problem& p = work.args.p;
    const Scores& scores = stage.scores;
    Rows output = {}, written, errors = {};
    if (p.erase) multiply(errors, state, stage.keys);
    multiply(output, state, stage.queries);
    each_token([&](int i, int e, int t) { output[i][e] *= p.scale * scores.through[t]; });
    if (p.erase) solve(stage, errors, written);
    else FW_UNROLL for (int i = 0; i < kTokens / 8; i++) take_values(stage, i, written[i]);

    Engine::begin();
    FW_UNROLL for (int k = 0; k < kTokens / 16; k++) {
      const Factors left = split(written, k);
      multiply_exactly(output, left, scores.read, scores.read_low, k);
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
  static FW_DEVICE void solve(const Stage& stage, Rows& errors, Rows& written) {
    const Scores& scores = stage.scores;
    each_token([&](int i, int e, int) { written[i][e] = 0; });
    Engine::begin();
    FW_UNROLL for (int k = 0; k < kTokens / 16; k++) {
      FW_UNROLL for (int i = 2 * k; i < 2 * k + 2; i++) {
        float values[4];
        take_values(stage, i, values);
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

  // Calls visit(i, e, place) for the pairs of values of a state and where they lie in row `row` of [rows, heads, K, V].
  template <class Visit>
  static FW_DEVICE void each_key(const Work& work, int64_t row, const Visit& visit) {
    if (!work.live()) return;
    const Problem& p = work.args.p;
    int64_t place = ((row * p.heads + work.h) * K + Work::token()) * p.V + work.first + Work::value();
    FW_UNROLL for (int i = 0; i < K / 8; i++) {
      visit(i, 0, place);
      visit(i, 1, place + p.V);
      place += 8 * p.V;
    }
  }

  static FW_DEVICE void get_state(const Work& work, bool begins, State& state) {
    FW_UNROLL for (int i = 0; i < K / 8; i++)
      FW_UNROLL for (int e = 0; e < 4; e++) state[i][e] = 0;
    const Args& args = work.args;
    In from = args.p.initialState;
    if (!begins) from.data = args.carry.carried, from.dtype = kFloat32;
    if (!from.data) return;
    each_key(work, begins ? work.n : 0, [&](int i, int e, int64_t at) {
      state[i][e] = load(from, at), state[i][e + 2] = load(from, at + 1);
    });
  }

  static FW_DEVICE void put_state(const Work& work, float* to, int64_t row, const State& state) {
    each_key(work, row, [&](int i, int e, int64_t place) {
      put_pair(to + place, flushed(state[i][e]), flushed(state[i][e + 2]));
    });
  }
};

// Blocks that hold all values of a sequence's head.
template <class Kernel>
int64_t blocks_of(const Problem& p) {
  return (p.V + Kernel::kValues - 1) / Kernel::kValues;
}

template <class Kernel>
void start(const Context& cx, const recurrenceArgs& args, const Problem& p, const Scores* scores, int64_t sequences,
           const Carry& carry) {
  launch<Kernel, kLargeSharedBytes>(cx, sequences * p.heads * blocks_of<Kernel>(p),
                                    {p, scores, args.output, args.finalState, args.states, args.written, carry});
}

// Rows as whole pieces of 16 bytes.
bool in_pieces(const Heads& x) {
  return x.dtype == kBfloat16 && reinterpret_cast<uintptr_t>(x.data) % 16 == 0 && x.token % kPiece == 0 &&
         x.head % kPiece == 0;
}

}  // namespace
}  // namespace walk

template <int K>
bool takes_bfloat16(const recurrenceArgs& args) {
  const bool keys = args.keyDim == K && args.valueDim > 0 && args.valueDim % walk::kPiece == 0;
  const bool operands = walk::in_pieces(args.q) && walk::in_pieces(args.k) && walk::in_pieces(args.v);
  const bool results = args.output.dtype == kBfloat16 && args.finalState.dtype == kFloat32 &&
                       args.states.dtype == kFloat32 && args.written.dtype == kFloat32;
  const bool writes = args.eraseFrom == kEraseDecayed ? args.betaWidth <= 1
                                                      : args.eraseFrom == kEraseNone && args.betaWidth == 0;
  const bool plain = !args.eraseKey.data && !args.writeKey.data && !args.bonus.data && !args.max.data && !args.secondWrite &&
                     !args.readBefore && !args.exchanged;
  return keys && operands && results && writes && plain && args.gateWidth <= 1 && args.checkpointEvery == walk::kTokens;
}

template <int K>
void forward_bfloat16(const Context& cx, const recurrenceArgs& args) {
  using namespace walk;
  // Warps that share their copies, where their blocks are enough for the card and it has room for them; else more blocks.
  using Wide = Walk<K, 8, 2>;
  using Narrow = Walk<K, 4, 1>;
  Problem p = with_chunks(cx, decode(args), args.offsets, args.tokens, args.checkpointEvery, kTokens);
  p.initialState = args.initialState;
  const int64_t at_once = chunks_at_once(cx, p, p.heads * static_cast<int64_t>(sizeof(Scores)));
  Scores* const scores = cx.scratch_of<Scores>(at_once * p.heads);
  const bool fits = static_cast<int64_t>(sizeof(typename Wide::Shared)) <= cx.most_shared;
  const bool fills = 2 * p.sequences * p.heads * blocks_of<Wide>(p) > cx.multiprocessors;
  const bool wide = p.V > Narrow::kValues && fits && fills;
  each_group(cx, p, at_once, [&](const Problem& group, int64_t sequences, const Carry& carry) {
    if (p.chunks > 0) prepare<K>(cx, group, scores);
    if (wide) start<Wide>(cx, args, group, scores, sequences, carry);
    else start<Narrow>(cx, args, group, scores, sequences, carry);
  });
}

template bool takes_bfloat16<64>(const recurrenceArgs&);
template bool takes_bfloat16<128>(const recurrenceArgs&);
template void forward_bfloat16<64>(const Context&, const recurrenceArgs&);
template void forward_bfloat16<128>(const Context&, const recurrenceArgs&);

}  // namespace fw::cuda
