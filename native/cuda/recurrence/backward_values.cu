// From the last chunk to the first: the gradient of the state, of values and of strengths. With W, Q, E the scaled keys
// of chunk.cuh, dO the right side of the read and S, dS as in backward.cuh:
//   dN = W dS + read^T dO      dr_t = beta_t dn_t, from the last token, each taken out of the earlier: dn_j -= erase_tj dr_t
//   dv = dr [or K dS + read2^T dO - erase2^T dR]      dbeta = dn (u - E S - erase R)      dS <- decay dS + Q^T dO - E^T dR
// The states of the chunks between two checkpoints are computed again from R and kept in scratch memory.
#include "backward.cuh"

namespace fw::cuda {
namespace {

struct BackwardValues {
  static constexpr int kThreads = kStateThreads;
  struct Args {
    Problem p;
    const float* scores;
    In states, written;
    InMaybe dfinalState;
    Out dv;
    OutMaybe dq, dbeta, dinitialState;  // dq when exchanged, dbeta when it is per value
    float *parts, *chunk_states;        // chunk_states [blocks, state_floats]
  };
  using Shared = SharedBytes;

  struct Layout {
    ChunkKeys keys;
    int columns, stride;
    float *dstate, *right, *written, *values, *dwritten, *dvalues, *error, *scores;
    FW_HOST_DEVICE constexpr int64_t lay_out(SharedArena arena, const Problem& p) {
      keys.lay_out(arena, p);
      columns = backward_columns_for(p.K), stride = columns + 8;
      dstate = arena.floats(keys.keys * stride);
      float** const rows[] = {&right, &written, &values, &dwritten, &error};
      for (float** row : rows) *row = arena.floats(kChunk * stride);
      dvalues = p.secondWrite ? arena.floats(kChunk * stride) : nullptr;
      scores = arena.floats(kPairFloats);
      return arena.used;
    }
  };

  // What does not change along the sequence.
  struct Work {
    Layout x;
    Parts parts;
    int64_t n, h, block_of_values;
    int first;
    float* chunk_states;
    FW_DEVICE float* state_of(int64_t c) const { return chunk_states + c * x.keys.keys * x.columns; }
  };

  static constexpr int64_t most_shared() { return most_shared_of<Layout>(false); }

  static FW_DEVICE void run(const Args& args, Shared& shared) {
    const Problem& p = args.p;
    Work w;
    w.x.lay_out({shared.first, 0}, p);
    w.parts = Parts::of(p);
    w.block_of_values = block() % w.parts.blocks;
    w.h = p.firstHead + block() / w.parts.blocks % p.groupHeads, w.n = block() / w.parts.blocks / p.groupHeads;
    w.first = static_cast<int>(w.block_of_values) * w.x.columns;
    const int64_t chunks = p.every / kChunk;
    w.chunk_states = args.chunk_states + block() * state_floats(p);
    const Layout& x = w.x;
    const Sequence sequence = sequence_at(p, w.n);
    const int64_t state_at = (w.n * p.heads + w.h) * p.K * p.V;
    eachOfState(x, [&](int i, int j) {
      const bool live = args.dfinalState.data && i < p.K && w.first + j < p.V;
      x.dstate[i * x.stride + j] =
          live ? load(args.dfinalState, state_at + static_cast<int64_t>(i) * p.V + w.first + j) : 0;
    });
    for (int64_t s = (sequence.length + p.every - 1) / p.every - 1; s >= 0; s--) {
      const int64_t begin = s * chunks, left = chunks_of(sequence.length) - begin;
      const int64_t count = left < chunks ? left : chunks;
      recompute(args, w, sequence, s, begin, count);
      for (int64_t c = count - 1; c >= 0; c--) {
        through_chunk(args, w, chunk_of(sequence, w.n, begin + c), w.state_of(c));
      }
    }
    barrier();
    if (!args.dinitialState.data) return;
    eachOfState(x, [&](int i, int j) {
      if (i >= p.K || w.first + j >= p.V) return;
      store(args.dinitialState, state_at + static_cast<int64_t>(i) * p.V + w.first + j, x.dstate[i * x.stride + j]);
    });
  }

  template <class Visit>
  static FW_DEVICE void eachOfState(const Layout& x, const Visit& visit) {
    for (int at = thread(); at < x.keys.keys * x.columns; at += kThreads) visit(at / x.columns, at % x.columns);
  }
  template <class Tile>
  static FW_DEVICE void eachTile(const Layout& x, const Tile& tile) {
    for (int at = 8 * warp(); at < x.columns; at += 8 * (kThreads / kWarp)) tile(at);
  }

  static FW_DEVICE void stage_written(const Args& args, const Work& w, const Chunk& chunk) {
    const Problem& p = args.p;
    w.x.keys.stage(p, chunk, w.h);
    stage_values(w.x.written, w.x.stride, w.x.columns, p, chunk, w.first, [&](int64_t token, int j) {
      return load(args.written, (token * p.heads + w.h) * p.V + j);
    });
    stage_values(w.x.values, w.x.stride, w.x.columns, p, chunk, w.first,
                 [&](int64_t token, int j) { return value_at(p, token, w.h, j); });
  }

  // The states before the chunks of checkpoint s.
  static FW_DEVICE void recompute(const Args& args, const Work& w, const Sequence& sequence, int64_t s, int64_t begin,
                                  int64_t count) {
    const Problem& p = args.p;
    const Layout& x = w.x;
    const int64_t at = (checkpoint_row(p, w.n, s) * p.heads + w.h) * p.K * p.V;
    eachOfState(x, [&](int i, int j) {
      const bool live = i < p.K && w.first + j < p.V;
      w.state_of(0)[i * x.columns + j] = live ? load(args.states, at + static_cast<int64_t>(i) * p.V + w.first + j) : 0;
    });
    for (int64_t c = 0; c + 1 < count; c++) {
      barrier();
      stage_written(args, w, chunk_of(sequence, w.n, begin + c));
      barrier();
      const float* const before = w.state_of(c);
      float* const after = w.state_of(c + 1);
      eachTile(x, [&](int at) {
        for (int i = 0; i < x.keys.keys; i += 16) {
          float tile[4];
          eachElement(tile, [&](int r, int j, float& y) {
            y = x.keys.decay[i + r] * before[(i + r) * x.columns + at + j];
          });
          multiply(tile, kChunk, turned(x.keys.write + i, x.keys.stride), rows_of(x.written + at, x.stride));
          if (p.secondWrite) {
            multiply(tile, kChunk, turned(x.keys.second + i, x.keys.stride), rows_of(x.values + at, x.stride));
          }
          eachElement(tile, [&](int r, int j, float& y) { after[(i + r) * x.columns + at + j] = y; });
        }
      });
    }
  }

  static FW_DEVICE void through_chunk(const Args& args, const Work& w, const Chunk& chunk, const float* state) {
    const Problem& p = args.p;
    const Layout& x = w.x;
    barrier();
    stage_written(args, w, chunk);
    stage_values(x.right, x.stride, x.columns, p, chunk, w.first,
                 [&](int64_t token, int j) { return load(p.right, token, w.h, p.heads, j); });
    const float* scores = args.scores + place_of(p, chunk, w.h) * kPairFloats;
    for (int i = thread(); i < kPairFloats; i += kThreads) x.scores[i] = scores[i];
    barrier();
    eachTile(x, [&](int at) { through_written(args, w, chunk, state, at); });
    barrier();
    leave_parts(args, w, chunk, state);
    barrier();
    eachTile(x, [&](int at) {
      for (int i = 0; i < x.keys.keys; i += 16) {
        float tile[4];
        eachElement(tile, [&](int r, int j, float& y) {
          y = x.keys.decay[i + r] * x.dstate[(i + r) * x.stride + at + j];
        });
        multiply(tile, kChunk, turned(x.keys.left + i, x.keys.stride), rows_of(x.right + at, x.stride));
        if (p.erase) {
          multiply(tile, kChunk, turned(x.keys.erase + i, x.keys.stride), rows_of(x.dwritten + at, x.stride));
        }
        eachElement(tile, [&](int r, int j, float& y) { x.dstate[(i + r) * x.stride + at + j] = y; });
      }
    });
  }

  // Eight columns from column `at` on: what was written, and what it was made from. dwritten becomes -dR, error the
  // product of dN with the error.
  static FW_DEVICE void through_written(const Args& args, const Work& w, const Chunk& chunk, const float* state,
                                        int at) {
    const Problem& p = args.p;
    const Layout& x = w.x;
    const ChunkKeys& keys = x.keys;
    const auto scores_of = [&](int matrix) { return x.scores + matrix * kChunk * kChunk; };
    const auto columns_of = [&](const float* rows) { return rows_of(rows + at, x.stride); };
    float c[4] = {};
    multiply(c, keys.keys, rows_of(keys.write, keys.stride), columns_of(x.dstate));
    multiply(c, kChunk, turned(scores_of(kRead), kChunk), columns_of(x.right));
    eachElement(c, [&](int t, int j, float& y) { x.dwritten[t * x.stride + at + j] = y; });
    if (p.secondWrite) {
      float d[4] = {};
      multiply(d, keys.keys, rows_of(keys.second, keys.stride), columns_of(x.dstate));
      multiply(d, kChunk, turned(scores_of(kReadSecond), kChunk), columns_of(x.right));
      eachElement(d, [&](int t, int j, float& y) { x.dvalues[t * x.stride + at + j] = y; });
    }
    if (p.betaWidth) {
      float e[4] = {};
      if (p.erase) {
        multiply(e, keys.keys, rows_of(keys.erase, keys.stride), rows_of(state + at, x.columns));
        multiply(e, kChunk, rows_of(scores_of(kErase), kChunk), columns_of(x.written));
        if (p.secondWrite) multiply(e, kChunk, rows_of(scores_of(kEraseSecond), kChunk), columns_of(x.values));
      }
      eachElement(e, [&](int t, int j, float& y) {
        x.error[t * x.stride + at + j] = (p.secondWrite ? 0 : x.values[t * x.stride + at + j]) - y;
      });
    }
    if (p.exchanged) {
      float q[4] = {};
      multiply(q, keys.keys, rows_of(keys.left, keys.stride), rows_of(state + at, x.columns));
      multiply(q, kChunk, rows_of(scores_of(kRead), kChunk), columns_of(x.written));
      eachElement(q, [&](int t, int j, float& y) {
        if (t < chunk.count && w.first + at + j < p.V) {
          store(args.dq, ((chunk.begin + t) * p.heads + w.h) * p.V + w.first + at + j, y);
        }
      });
    }
    warpSync();
    if (lane() < 8) solve(args, w, chunk, at + lane());
  }

  // One column, from the last token to the first, by one lane; `column` counts in the block.
  static FW_DEVICE void solve(const Args& args, const Work& w, const Chunk& chunk, int column) {
    const Problem& p = args.p;
    const Layout& x = w.x;
    const float* const erase = x.scores + kErase * kChunk * kChunk;
    const float* const low = x.scores + kEraseLow * kChunk * kChunk;
    const float* const erase_second = x.scores + kEraseSecond * kChunk * kChunk;
    const float* const bonus = x.scores + kPairMatrices * kChunk * kChunk;
    const int j = w.first + column;
    float dn[kChunk], dr[kChunk];
    FW_UNROLL
    for (int t = 0; t < kChunk; t++) dn[t] = x.dwritten[t * x.stride + column];
    FW_UNROLL
    for (int t = kChunk - 1; t >= 0; t--) {
      const int64_t token = chunk.begin + t, place = (token * p.heads + w.h) * p.V + j;
      const bool live = t < chunk.count && j < p.V;
      dr[t] = live ? beta_at(p, token, w.h, j) * dn[t] : 0;
      FW_UNROLL
      for (int earlier = 0; earlier < t; earlier++) {
        const int pair = t * kChunk + earlier;
        dn[earlier] = fmaf(-low[pair], dr[t], fmaf(-erase[pair], dr[t], dn[earlier]));
      }
      x.dwritten[t * x.stride + column] = -dr[t];
      float dv = dr[t];
      if (p.secondWrite) {
        dv = x.dvalues[t * x.stride + column];
        FW_UNROLL
        for (int later = t + 1; later < kChunk; later++) dv -= erase_second[later * kChunk + t] * dr[later];
      }
      if (p.bonus.data) dv += bonus[t] * x.right[t * x.stride + column];
      if (p.betaWidth) {
        float& error = x.error[t * x.stride + column];
        error = live ? error * dn[t] : 0;
        if (live && p.betaWidth > 1) store(args.dbeta, place, error);
      }
      if (live && j < p.values) store(args.dv, (token * p.heads + w.h) * p.values + j, dv);
    }
  }

  static FW_DEVICE void leave_parts(const Args& args, const Work& w, const Chunk& chunk, const float* state) {
    const Problem& p = args.p;
    const Layout& x = w.x;
    float* const to = args.parts + (place_of(p, chunk, w.h) * w.parts.blocks + w.block_of_values) * w.parts.size;
    const float* const lefts[] = {x.right, x.dwritten, x.right, x.dwritten};
    const float* const pairs[] = {x.written, x.written, x.values, x.values};
    const float* const rows[] = {x.right, x.dwritten, x.written, x.values};
    const int key_tiles = x.keys.keys / 8, row_sets = p.secondWrite ? 4 : 3;
    const int pair_tiles = 2 * w.parts.matrices, tiles = pair_tiles + row_sets * key_tiles;
    for (int tile = warp(); tile < tiles; tile += kThreads / kWarp) {
      float c[4] = {};
      if (tile < pair_tiles) {
        const int matrix = tile / 2, j0 = tile % 2 * 8;
        multiply(c, x.columns, rows_of(lefts[matrix], x.stride), turned(pairs[matrix] + j0 * x.stride, x.stride));
        eachElement(c, [&](int t, int j, float& y) { to[w.parts.matrix(matrix) + t * kChunk + j0 + j] = y; });
        continue;
      }
      const int set = (tile - pair_tiles) / key_tiles, i0 = (tile - pair_tiles) % key_tiles * 8;
      const bool reads = set == Parts::kOfRead || set == Parts::kOfErase;
      const float* const with = reads ? state + i0 * x.columns : x.dstate + i0 * x.stride;
      multiply(c, x.columns, rows_of(rows[set], x.stride), turned(with, reads ? x.columns : x.stride));
      eachElement(c, [&](int t, int i, float& y) { to[w.parts.rows(set) + t * w.parts.keys + i0 + i] = y; });
    }
    if (p.gateWidth) {
      for (int i = thread(); i < x.keys.keys; i += kThreads) {
        float sum = 0;
        for (int j = 0; j < x.columns; j++) sum += state[i * x.columns + j] * x.dstate[i * x.stride + j];
        to[w.parts.gate + i] = sum;
      }
    }
    if (thread() < kChunk) {
      float dbeta = 0, dbonus = 0;
      for (int j = 0; j < x.columns; j++) {
        const int at = thread() * x.stride + j;
        if (p.betaWidth) dbeta += x.error[at];
        dbonus += x.right[at] * x.values[at];
      }
      to[w.parts.dbeta + thread()] = dbeta, to[w.parts.dbonus + thread()] = dbonus;
    }
  }
};

}  // namespace

void backward_values(const Context& cx, const recurrenceBackwardArgs& args, const Problem& p,
                     const BackwardMemory& memory) {
  BackwardValues::Layout layout{};
  const int64_t bytes = layout.lay_out({nullptr, 0}, p);
  const int64_t blocks = p.sequences * p.groupHeads * Parts::of(p).blocks;
  OutMaybe dq, dbeta;
  if (p.exchanged) static_cast<Out&>(dq) = args.dq;
  if (p.betaWidth > 1) dbeta = args.dbeta;
  launch<BackwardValues>(cx, blocks, {p, memory.scores, args.states, args.written, args.dfinalState, args.dv, dq, dbeta,
                                      args.dinitialState, memory.parts, memory.states}, bytes);
}

}  // namespace fw::cuda
