// The recurrence in chunks: a block walks through one head of one sequence with some columns of the state, which it keeps
// in shared memory. Per chunk, with the scaled keys of chunk.cuh and the scores of pairs.cu (spec 2.14):
//   R = beta (U - E S - erase R [- erase2 V])      O = Q S + read R [+ read2 V + bonus V]      S <- decay S + W^T R [+ K^T V]
// R is solved for token by token, each column by itself. A warp owns its columns: no other reads or writes them, but for
// the exchanged read O = S Q^T, a sum over columns: blocks leave their parts of it to be added up in order.
#include "ways.h"

#include "../math.cuh"
#include "chunk.cuh"
#include "groups.cuh"

namespace fw::cuda {
namespace {

template <bool kExchanged>
struct Forward {
  static constexpr int kThreads = kStateThreads;
  struct Args {
    Problem p;
    const float* scores;
    Out output;    // of the ordinary read
    OutMaybe sums;  // of the normaliser
    float* parts;  // of the exchanged read [blocks of values, chunks and heads of the group, kChunk, K], without the scale
    OutMaybe finalState, states, written;
    Carry carry;
  };
  using Shared = SharedBytes;

  struct Layout {
    ChunkKeys keys;
    int columns, stride;  // of the state [keys, columns] and of rows over values [kChunk, columns]
    float *state, *values, *written, *scores;
    float *queries, *read, *products;  // exchanged: rows over values, S Q^T [keys, kChunk + 4], R Q^T [kChunk, kChunk]
    FW_HOST_DEVICE constexpr int64_t lay_out(SharedArena arena, const Problem& p) {
      keys.lay_out(arena, p);
      columns = columns_for(p.K), stride = columns + 8;
      state = arena.floats(keys.keys * stride);
      values = arena.floats(kChunk * stride), written = arena.floats(kChunk * stride);
      scores = arena.floats(kPairFloats);
      if (kExchanged) {
        queries = arena.floats(kChunk * stride);
        read = arena.floats(keys.keys * (kChunk + 4)), products = arena.floats(kChunk * kChunk);
      }
      return arena.used;
    }
  };

  static constexpr int64_t most_shared() { return most_shared_of<Layout>(kExchanged); }

  static FW_DEVICE void run(const Args& args, Shared& shared) {
    const Problem& p = args.p;
    Layout x;
    x.lay_out({shared.first, 0}, p);
    const int blocks_of_values = (p.V + x.columns - 1) / x.columns;
    const int first = static_cast<int>(block() % blocks_of_values) * x.columns;
    const int64_t h = block() / blocks_of_values % p.heads;
    const int64_t n = args.carry.firstSequence + block() / blocks_of_values / p.heads;
    const Portion own = portion_at(p, n);
    if (!own.there) return;
    const int64_t state_at = (n * p.heads + h) * p.K * p.V, carry_at = h * p.K * p.V;
    for (int at = thread(); at < x.keys.keys * x.columns; at += kThreads) {
      const int i = at / x.columns, j = at % x.columns;
      const bool live = (!own.begins || p.initialState.data) && i < p.K && first + j < p.V;
      const int64_t place = static_cast<int64_t>(i) * p.V + first + j;
      x.state[i * x.stride + j] =
          !live ? 0 : own.begins ? load(p.initialState, state_at + place) : args.carry.carried[carry_at + place];
    }
    for (int64_t c = own.begin; c < own.end; c++) {
      const Chunk chunk = chunk_of(own.sequence, n, c);
      barrier();
      x.keys.stage(p, chunk, h);
      stage_values(x.values, x.stride, x.columns, p, chunk, first,
                             [&](int64_t token, int j) { return value_at(p, token, h, j); });
      const float* scores = args.scores + place_of(p, chunk, h) * kPairFloats;
      for (int i = thread(); i < kPairFloats; i += kThreads) x.scores[i] = scores[i];
      if constexpr (kExchanged) {
        stage_values(x.queries, x.stride, x.columns, p, chunk, first,
                               [&](int64_t token, int j) { return load(p.q, token, h, p.heads, j); });
      }
      if (args.states.data && c * kChunk % p.every == 0) {
        const int64_t row = checkpoint_row(p, n, c * kChunk / p.every) * p.heads + h;
        put_state(args.states, row * p.K * p.V, p, x, first);
      }
      barrier();
      eachTile(x, [&](int at) { solve_tile(args, x, chunk, h, first, at); });
      if constexpr (kExchanged) {
        barrier();
        multiply_queries(x);
        barrier();
        read_along_values(args, x, chunk, h, block() % blocks_of_values);
      } else {
        eachTile(x, [&](int at) { read_tile(args, x, chunk, h, first, at); });
      }
      warpSync();
      eachTile(x, [&](int at) { update_tile(p, x, at); });
    }
    barrier();
    if (!own.ends) put_state({args.carry.carry, kFloat32}, carry_at, p, x, first);
    else if (args.finalState.data) put_state(args.finalState, state_at, p, x, first);
  }

  static FW_DEVICE void put_state(const Out& to, int64_t at, const Problem& p, const Layout& x, int first) {
    for (int n = thread(); n < p.K * x.columns; n += kThreads) {
      const int i = n / x.columns, j = n % x.columns;
      if (first + j < p.V) store(to, at + static_cast<int64_t>(i) * p.V + first + j, flushed(x.state[i * x.stride + j]));
    }
  }

  // Calls tile(column) for every eight columns of this warp.
  template <class Tile>
  static FW_DEVICE void eachTile(const Layout& x, const Tile& tile) {
    for (int at = 8 * warp(); at < x.columns; at += 8 * (kThreads / kWarp)) tile(at);
  }

  static FW_DEVICE auto scores_of(const Layout& x, int matrix) {
    return rows_of(x.scores + matrix * kChunk * kChunk, kChunk);
  }

  // R for eight columns from column `at` of the block on.
  static FW_DEVICE void solve_tile(const Args& args, const Layout& x, const Chunk& chunk, int64_t h, int first,
                                   int at) {
    const Problem& p = args.p;
    const float* const values = x.values + at;
    float* const written = x.written + at;
    float error[4] = {};
    if (p.erase) {
      multiply_keys(error, x.keys.keys, rows_of(x.keys.erase, x.keys.stride), rows_of(x.state + at, x.stride));
      if (p.secondWrite) multiply(error, kChunk, scores_of(x, kEraseSecond), rows_of(values, x.stride));
    }
    eachElement(error, [&](int t, int j, float& e) {
      written[t * x.stride + j] = (p.secondWrite ? 0 : values[t * x.stride + j]) - e;
    });
    warpSync();
    if (lane() < 8) solve(args, x, chunk, h, first + at + lane(), written + lane());
    warpSync();
  }

  static FW_DEVICE void read_tile(const Args& args, const Layout& x, const Chunk& chunk, int64_t h, int first, int at) {
    const Problem& p = args.p;
    const float* const values = x.values + at;
    float output[4] = {};
    multiply_keys(output, x.keys.keys, rows_of(x.keys.left, x.keys.stride), rows_of(x.state + at, x.stride));
    multiply(output, kChunk, scores_of(x, kRead), rows_of(x.written + at, x.stride));
    if (p.secondWrite) multiply(output, kChunk, scores_of(x, kReadSecond), rows_of(values, x.stride));
    eachElement(output, [&](int t, int j, float& o) {
      if (t >= chunk.count || first + at + j >= p.V) return;
      const float weight = x.scores[kPairMatrices * kChunk * kChunk + t];
      const int64_t row = (chunk.begin + t) * p.heads + h;
      if (first + at + j == p.values) return store(args.sums, row, o);
      store(args.output, row * p.values + first + at + j, o + weight * values[t * x.stride + j]);
    });
  }

  static FW_DEVICE void update_tile(const Problem& p, const Layout& x, int at) {
    const ChunkKeys& keys = x.keys;
    float* const state = x.state + at;
    for (int i = 0; i < keys.keys; i += 16) {
      float tile[4];
      eachElement(tile, [&](int r, int j, float& s) { s = keys.decay[i + r] * state[(i + r) * x.stride + j]; });
      multiply(tile, kChunk, turned(keys.write + i, keys.stride), rows_of(x.written + at, x.stride));
      if (p.secondWrite) {
        multiply(tile, kChunk, turned(keys.second + i, keys.stride), rows_of(x.values + at, x.stride));
      }
      eachElement(tile, [&](int r, int j, float& s) { state[(i + r) * x.stride + j] = s; });
    }
  }

  // S Q^T and R Q^T over the columns of the block.
  static FW_DEVICE void multiply_queries(const Layout& x) {
    const int stride = kChunk + 4, rows = x.keys.keys / 16;
    for (int tile = warp(); tile < 2 * (rows + 1); tile += kThreads / kWarp) {
      const int i = tile / 2 * 16, t = tile % 2 * 8;
      const auto queries = turned(x.queries + t * x.stride, x.stride);
      float c[4] = {};
      if (tile / 2 < rows) {
        multiply(c, x.columns, rows_of(x.state + i * x.stride, x.stride), queries);
        eachElement(c, [&](int r, int j, float& s) { x.read[(i + r) * stride + t + j] = s; });
      } else {
        multiply(c, x.columns, rows_of(x.written, x.stride), queries);
        eachElement(c, [&](int r, int j, float& s) { x.products[r * kChunk + t + j] = s; });
      }
    }
  }

  // o_ti = e^b_ti (S q_t)_i + sum over j <= t of e^(b_ti - b_ji) w_ji (r_j . q_t)
  static FW_DEVICE void read_along_values(const Args& args, const Layout& x, const Chunk& chunk, int64_t h, int64_t part) {
    const Problem& p = args.p;
    const int64_t place = part * p.groupChunks * p.groupHeads + place_of(p, chunk, h);
    for (int i = thread(); i < p.K; i += kThreads) {
      for (int t = 0; t < chunk.count; t++) {
        float sum = 0, between = 0;
        for (int j = t; j >= 0; j--) {
          sum += expf(between) * load(p.writeKey, chunk.begin + j, h, p.heads, i) * x.products[j * kChunk + t];
          between += gate_at(p, chunk.begin + j, h, i);
        }
        sum += expf(between) * x.read[i * (kChunk + 4) + t];
        args.parts[(place * kChunk + t) * p.K + i] = sum;
      }
    }
  }

  // One column of R in place of U - E S - ..., by one lane; `column` counts in all of V.
  static FW_DEVICE void solve(const Args& args, const Layout& x, const Chunk& chunk, int64_t h, int column,
                              float* written) {
    const Problem& p = args.p;
    const float* const erase = x.scores + kErase * kChunk * kChunk;
    const float* const low = x.scores + kEraseLow * kChunk * kChunk;
    float r[kChunk];
    FW_UNROLL
    for (int t = 0; t < kChunk; t++) {
      float sum = written[t * x.stride];
      FW_UNROLL
      for (int j = 0; j < t; j++) sum = fmaf(-low[t * kChunk + j], r[j], fmaf(-erase[t * kChunk + j], r[j], sum));
      const bool live = t < chunk.count && column < p.V;
      r[t] = live ? beta_at(p, chunk.begin + t, h, column) * sum : 0;
      written[t * x.stride] = r[t];
      if (live && args.written.data) store(args.written, ((chunk.begin + t) * p.heads + h) * p.V + column, r[t]);
    }
  }
};

// The exchanged read: scale * sum over parts, in their order.
struct AddParts {
  static constexpr int kThreads = 256;
  struct Args {
    Problem p;
    const float* parts;
    Out output;
    int64_t count;
  };
  struct Shared {};
  static FW_DEVICE void run(const Args& args, Shared&) {
    const Problem& p = args.p;
    const Chunk chunk = chunk_at(p, p.firstChunk + block() / p.heads);
    const int64_t h = block() % p.heads, each = kChunk * p.K, apart = p.groupChunks * p.heads * each;
    for (int i = thread(); i < chunk.count * p.K; i += kThreads) {
      float sum = 0;
      for (int64_t part = 0; part < args.count; part++) sum += args.parts[part * apart + block() * each + i];
      store(args.output, ((chunk.begin + i / p.K) * p.heads + h) * p.K + i % p.K, p.scale * sum);
    }
  }
};

// What was read beside a normaliser, divided: a warp for each token and head.
struct Divide {
  static constexpr int kThreads = 256;
  struct Args {
    Problem p;
    In sums;
    Out output;
    int64_t rows;
  };
  struct Shared {};
  static FW_DEVICE void run(const Args& args, Shared&) {
    const Problem& p = args.p;
    const int64_t at = block() * (kThreads / kWarp) + warp();
    if (at >= args.rows) return;
    const float d = divisor(p, at, load(args.sums, at));
    for (int i = lane(); i < p.values; i += kWarp) {
      const int64_t place = at * p.values + i;
      store(args.output, place, load(args.output, place) / d);
    }
  }
};

template <bool kExchanged>
void walk(const Context& cx, const recurrenceArgs& args, Problem p) {
  using Kernel = Forward<kExchanged>;
  typename Kernel::Layout layout{};
  const int64_t bytes = layout.lay_out({nullptr, 0}, p);
  const int64_t blocks = (p.V + layout.columns - 1) / layout.columns;
  const int64_t part_floats = kExchanged ? blocks * kChunk * p.K : 0;
  const int64_t at_once = chunks_at_once(cx, p, 4 * p.heads * (kPairFloats + part_floats));
  float* const scores = cx.scratch_of<float>(at_once * p.heads * kPairFloats);
  float* const parts = kExchanged ? cx.scratch_of<float>(at_once * p.heads * part_floats) : nullptr;
  each_group(cx, p, at_once, Direction::kOn, [&](const Problem& group, int64_t sequences, const Carry& carry) {
    if (p.chunks > 0) pair_scores(cx, group, scores);
    launch<Kernel>(
        cx, sequences * p.heads * blocks,
        {group, scores, args.output, args.sums, parts, args.finalState, args.states, args.written, carry}, bytes);
    if (kExchanged && p.chunks > 0) {
      launch<AddParts>(cx, group.groupChunks * p.heads, {group, parts, args.output, blocks});
    }
  });
}

}  // namespace

void forward_exact(const Context& cx, const recurrenceArgs& args) {
  Problem p = with_chunks(cx, decode_sequences(args), args.offsets, args.tokens, args.checkpointEvery);
  p.initialState = args.initialState;
  if (p.max.data) {
    walk<false>(cx, args, p);
    const int64_t rows = args.tokens * (args.offsets.data ? 1 : p.sequences) * p.heads, each = Divide::kThreads / kWarp;
    const In sums = {args.sums.data, args.sums.dtype, args.sums.size};
    return launch<Divide>(cx, (rows + each - 1) / each, {p, sums, args.output, rows});
  }
  if (!p.exchanged) return walk<false>(cx, args, p);
  p.left = Heads{};
  walk<true>(cx, args, p);
}

}  // namespace fw::cuda
