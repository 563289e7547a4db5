// The recurrence in chunks: a block walks through one head of one sequence with some columns of the state, which it keeps
// in shared memory. Per chunk, with the scaled keys of chunk.cuh and the scores of pairs.cu (spec 2.14):
//   R = beta (U - E S - erase R [- erase2 V])      O = Q S + read R [+ read2 V + bonus V]      S <- decay S + W^T R [+ K^T V]
// R is solved for token by token, each column by itself. A warp owns its columns: no other reads or writes them.
#include "chunk.cuh"

namespace fw::cuda {
namespace {

struct Forward {
  static constexpr int kThreads = 128;
  struct Args {
    Problem p;
    const float* scores;
    Out output;
    OutMaybe finalState, states, written;
  };
  using Shared = SharedBytes;

  struct Layout {
    ChunkKeys keys;
    int columns, stride;  // of the state [keys, columns] and of rows over values [kChunk, columns]
    float *state, *values, *written, *scores;
    FW_HOST_DEVICE int64_t lay_out(SharedArena arena, const Problem& p) {
      keys.lay_out(arena, p);
      columns = columns_for(p.K), stride = columns + 8;
      state = arena.floats(keys.keys * stride);
      values = arena.floats(kChunk * stride), written = arena.floats(kChunk * stride);
      scores = arena.floats(kPairFloats);
      return arena.used;
    }
  };

  static FW_DEVICE void run(const Args& args, Shared& shared) {
    const Problem& p = args.p;
    Layout x;
    x.lay_out({shared.first, 0}, p);
    const int blocks_of_values = (p.V + x.columns - 1) / x.columns;
    const int first = static_cast<int>(block() % blocks_of_values) * x.columns;
    const int64_t h = block() / blocks_of_values % p.heads, n = block() / blocks_of_values / p.heads;
    const Sequence sequence = sequence_at(p, n);
    const int64_t state_at = (n * p.heads + h) * p.K * p.V;
    for (int at = thread(); at < x.keys.keys * x.columns; at += kThreads) {
      const int i = at / x.columns, j = at % x.columns;
      const bool live = p.initialState.data && i < p.K && first + j < p.V;
      x.state[i * x.stride + j] = live ? load(p.initialState, state_at + static_cast<int64_t>(i) * p.V + first + j) : 0;
    }
    for (int64_t c = 0; c < chunks_of(sequence.length); c++) {
      const Chunk chunk = chunk_of(sequence, n, c);
      barrier();
      x.keys.stage<kThreads>(p, chunk, h);
      stage_values<kThreads>(x.values, x.stride, x.columns, p, chunk, first,
                             [&](int64_t token, int j) { return load(p.v, token, h, p.heads, j); });
      const float* scores = args.scores + (chunk.index * p.heads + h) * kPairFloats;
      for (int i = thread(); i < kPairFloats; i += kThreads) x.scores[i] = scores[i];
      if (args.states.data && c * kChunk % p.every == 0) {
        const int64_t row = checkpoint_row(p, n, c * kChunk / p.every) * p.heads + h;
        put_state(args.states, row * p.K * p.V, p, x, first);
      }
      barrier();
      for (int tile = warp(); tile < x.columns / 8; tile += kThreads / kWarp) {
        through_tile(args, x, chunk, h, first, 8 * tile);
      }
    }
    barrier();
    if (args.finalState.data) put_state(args.finalState, state_at, p, x, first);
  }

  static FW_DEVICE void put_state(const Out& to, int64_t at, const Problem& p, const Layout& x, int first) {
    for (int n = thread(); n < p.K * x.columns; n += kThreads) {
      const int i = n / x.columns, j = n % x.columns;
      if (first + j < p.V) store(to, at + static_cast<int64_t>(i) * p.V + first + j, x.state[i * x.stride + j]);
    }
  }

  // Eight columns from column `at` of the block on, by one warp.
  static FW_DEVICE void through_tile(const Args& args, const Layout& x, const Chunk& chunk, int64_t h, int first,
                                     int at) {
    const Problem& p = args.p;
    const ChunkKeys& keys = x.keys;
    float* const state = x.state + at;
    float* const values = x.values + at;
    float* const written = x.written + at;
    const auto rows_of = [&](const float* rows, int stride) {
      return [=](int t, int k) { return rows[t * stride + k]; };
    };
    const auto scores_of = [&](int matrix) { return rows_of(x.scores + matrix * kChunk * kChunk, kChunk); };
    const auto columns_of = [&](const float* rows) { return [=](int k, int j) { return rows[k * x.stride + j]; }; };

    float error[4] = {};
    if (p.erase) {
      multiply(error, keys.keys, rows_of(keys.erase, keys.stride), columns_of(state));
      if (p.secondWrite) multiply(error, kChunk, scores_of(kEraseSecond), columns_of(values));
    }
    eachElement(error, [&](int t, int j, float& e) {
      written[t * x.stride + j] = (p.secondWrite ? 0 : values[t * x.stride + j]) - e;
    });
    warpSync();
    if (lane() < 8) solve(args, x, chunk, h, first + at + lane(), written + lane());
    warpSync();

    float output[4] = {};
    multiply(output, keys.keys, rows_of(keys.left, keys.stride), columns_of(state));
    multiply(output, kChunk, scores_of(kRead), columns_of(written));
    if (p.secondWrite) multiply(output, kChunk, scores_of(kReadSecond), columns_of(values));
    eachElement(output, [&](int t, int j, float& o) {
      if (t >= chunk.count || first + at + j >= p.V) return;
      const float weight = x.scores[kPairMatrices * kChunk * kChunk + t];
      store(args.output, ((chunk.begin + t) * p.heads + h) * p.V + first + at + j, o + weight * values[t * x.stride + j]);
    });
    warpSync();
    for (int i = 0; i < keys.keys; i += 16) {
      float tile[4];
      eachElement(tile, [&](int r, int j, float& s) { s = keys.decay[i + r] * state[(i + r) * x.stride + j]; });
      const auto turned = [&](const float* rows) {
        return [=](int r, int t) { return rows[t * keys.stride + i + r]; };
      };
      multiply(tile, kChunk, turned(keys.write), columns_of(written));
      if (p.secondWrite) multiply(tile, kChunk, turned(keys.second), columns_of(values));
      eachElement(tile, [&](int r, int j, float& s) { state[(i + r) * x.stride + j] = s; });
    }
  }

  // One column of R in place of U - E S - ..., by one lane; `column` counts in all of V.
  static FW_DEVICE void solve(const Args& args, const Layout& x, const Chunk& chunk, int64_t h, int column,
                              float* written) {
    const Problem& p = args.p;
    const float* const erase = x.scores + kErase * kChunk * kChunk;
    float r[kChunk];
    FW_UNROLL
    for (int t = 0; t < kChunk; t++) {
      float sum = written[t * x.stride];
      FW_UNROLL
      for (int j = 0; j < t; j++) sum -= erase[t * kChunk + j] * r[j];
      const bool live = t < chunk.count && column < p.V;
      r[t] = live ? beta_at(p, chunk.begin + t, h, column) * sum : 0;
      written[t * x.stride] = r[t];
      if (live && args.written.data) store(args.written, ((chunk.begin + t) * p.heads + h) * p.V + column, r[t]);
    }
  }
};

void read_along_keys(const Context& cx, const recurrenceArgs& args, const Problem& p) {
  Forward::Layout layout;
  const int64_t bytes = layout.lay_out({nullptr, 0}, p);
  const int64_t columns = columns_for(p.K), blocks = (p.V + columns - 1) / columns;
  launch<Forward>(cx, p.sequences * p.heads * blocks,
                  {p, pair_scores(cx, p), args.output, args.finalState, args.states, args.written}, bytes);
}

}  // namespace

void recurrence(const Context& cx, const recurrenceArgs& args) {
  const Problem p = with_chunks(cx, decode(args), args.offsets, args.tokens, args.checkpointEvery);
  read_along_keys(cx, args, p);
}

}  // namespace fw::cuda
