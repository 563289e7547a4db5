// Causal softmax attention in tiles of queries and keys: scores exist for one pair of tiles at a time. A block owns a
// tile of rows (of queries, or of keys for the gradients of keys and values) and walks over the tiles that those meet; a
// warp owns 16 of the rows. Products are exact to float32, in three parts as in tile.cuh.
#include "fold.cuh"
#include "sequences.cuh"

namespace fw::cuda {
namespace {

// Rows and columns of a tile, threads of a block, and columns of a result that a block accumulates in registers: a
// wider result is divided among blocks, which compute the scores again.
constexpr int kTile = 64, kTileThreads = 2 * kTile, kFragments = kTile / 8, kWide = 128;
// Fragments that are multiplied at once; with more, the accumulators leave no registers for them.
constexpr int kGroup = 2;
// Rows of shared memory are padded, so that the lanes of a fragment use different banks.
constexpr int kRow = kTile + 4;

using Scores = float[kFragments][4];
using Result = float[kWide / 8][4];

// A tile's rows of an operand [tokens, heads, width]; beyond them and beyond their width there are zeros.
struct Rows {
  In x;
  int64_t at, stride, count, width;
};

FW_DEVICE Rows rows_of(const In& x, int64_t token, int64_t count, int64_t head, int64_t heads, int64_t width) {
  return {x, (token * heads + head) * width, heads * width, count, width};
}

struct Tiles {
  float left[kTile][kRow], right[kTile][kRow], weights[kTile][kRow];
};

FW_DEVICE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
FW_DEVICE int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

// Columns from `from` on of a tile's rows, to shared memory.
FW_DEVICE void stage(float (&to)[kTile][kRow], const Rows& rows, int64_t from) {
  for (int i = thread(); i < kTile * kTile; i += kTileThreads) {
    const int64_t row = i / kTile, column = from + i % kTile;
    const bool inside = row < rows.count && column < rows.width;
    to[row][i % kTile] = inside ? load(rows.x, rows.at + row * rows.stride + column) : 0.0f;
  }
}

// The lane's element e of fragment j is at row scores_row(e) and column scores_column(j, e) of the tile.
FW_DEVICE int scores_row(int e) { return 16 * warp() + lane() / 4 + 8 * (e / 2); }
FW_DEVICE int scores_column(int j, int e) { return 8 * j + 2 * (lane() % 4) + e % 2; }

// A depth in whole steps of a fragment.
FW_DEVICE int depth_of(int64_t n) { return static_cast<int>(least(kTile, (n + 7) / 8 * 8)); }

// scores = a b^T; sums over 64 of the width at a time have their own accumulators (cuda.md 6.9). Passes a barrier for any
// width, 0 too.
FW_DEVICE void multiply_rows(Scores& scores, const Rows& a, const Rows& b, Tiles& tiles) {
  FW_UNROLL for (int j = 0; j < kFragments; j++)
    FW_UNROLL for (int e = 0; e < 4; e++) scores[j][e] = 0;
  for (int64_t from = 0; from == 0 || from < a.width; from += kTile) {
    barrier();
    stage(tiles.left, a, from);
    stage(tiles.right, b, from);
    barrier();
    const int depth = depth_of(a.width - from), row = 16 * warp();
    FW_UNROLL for (int first = 0; first < kFragments; first += kGroup) {
      float part[kGroup][4] = {};
      multiply(part, depth, [&](int i, int k) { return tiles.left[row + i][k]; },
                     [&](int k, int i) { return tiles.right[8 * first + i][k]; });
      FW_UNROLL for (int j = 0; j < kGroup; j++)
        FW_UNROLL for (int e = 0; e < 4; e++) scores[first + j][e] += part[j][e];
    }
  }
}

// result += scores b for columns from `first` on of b. Scores pass through shared memory, to become the other operand.
FW_DEVICE void add_weighted(Result& result, const Scores& scores, const Rows& b, int64_t first, Tiles& tiles) {
  FW_UNROLL for (int j = 0; j < kFragments; j++)
    FW_UNROLL for (int e = 0; e < 4; e++) tiles.weights[scores_row(e)][scores_column(j, e)] = scores[j][e];
  FW_UNROLL for (int from = 0; from < kWide; from += kTile) {
    if (first + from >= b.width) break;
    barrier();
    stage(tiles.right, b, first + from);
    barrier();
    const int depth = depth_of(b.count), row = 16 * warp();
    FW_UNROLL for (int group = 0; group < kTile; group += 8 * kGroup) {
      float part[kGroup][4] = {};
      multiply(part, depth, [&](int i, int k) { return tiles.weights[row + i][k]; },
                     [&](int k, int i) { return tiles.right[k][group + i]; });
      FW_UNROLL for (int j = 0; j < kGroup; j++)
        FW_UNROLL for (int e = 0; e < 4; e++) result[(from + group) / 8 + j][e] += part[j][e];
    }
  }
}

FW_DEVICE void clear(Result& result) {
  FW_UNROLL for (int j = 0; j < kWide / 8; j++)
    FW_UNROLL for (int e = 0; e < 4; e++) result[j][e] = 0;
}

// Columns from `first` on of a tile's rows, each element times scale(half of the lane's rows).
template <class Scale>
FW_DEVICE void store_result(const Out& y, const Rows& rows, int64_t first, const Result& result, const Scale& scale) {
  FW_UNROLL for (int j = 0; j < kWide / 8; j++)
    FW_UNROLL for (int e = 0; e < 4; e++) {
      const int64_t row = scores_row(e), column = first + scores_column(j, e);
      if (row < rows.count && column < rows.width)
        store(y, rows.at + row * rows.stride + column, result[j][e] * scale(e / 2));
    }
}

// What attention and its gradients share.
struct Shape {
  Sequences queries, keys;
  int64_t heads, keyHeads, keyDim, valueDim, window;
  float scale;

  // Tiles of all sequences: those of sequence s begin at start / kTile + s, which leaves room for its last, ragged one.
  static int64_t tiles(const Sequences& sequences) { return sequences.total() / kTile + sequences.count; }
  // Sequence and first row of a tile; false where the sequence has no such rows.
  static FW_DEVICE bool find(const Sequences& sequences, int64_t tile, int64_t& s, int64_t& first) {
    const auto begin = [&](int64_t i) { return sequences.start(i) / kTile + i; };
    s = sequences.last(tile, begin);
    first = (tile - begin(s)) * kTile;
    return first < sequences.length(s);
  }

  // Query t of sequence s sees the keys [begin, end).
  FW_DEVICE int64_t end(int64_t s, int64_t t) const { return t + keys.length(s) - queries.length(s) + 1; }
  FW_DEVICE int64_t begin(int64_t s, int64_t t) const { return window > 0 ? most(end(s, t) - window, 0) : 0; }
};

template <class Args>
Shape shape_of(const Args& x) {
  return {{x.offsets, x.sequences, x.tokens}, {x.offsets, x.sequences, x.keys}, x.heads, x.keyHeads, x.keyDim,
          x.valueDim, x.window, static_cast<float>(x.scale)};
}

// One tile of queries and one of keys of a sequence, and the pairs in them that see each other.
struct Pair {
  int64_t query, key;            // among all tokens
  int64_t queries, keys;         // in the tiles
  int64_t ahead, window;

  // Query i and key j of the tiles.
  FW_DEVICE bool sees(int64_t i, int64_t j) const {
    const int64_t behind = ahead + i - j;
    return i < queries && j < keys && behind >= 0 && (window <= 0 || behind < window);
  }
};

FW_DEVICE Pair pair_of(const Shape& shape, int64_t s, int64_t t, int64_t k) {
  const int64_t queries = shape.queries.length(s), keys = shape.keys.length(s);
  return {shape.queries.start(s) + t, shape.keys.start(s) + k, least(queries - t, kTile), least(keys - k, kTile),
          keys - queries + t - k, shape.window};
}

// Which tile, head and columns a block has: heads are neighbours, and the last tiles come first, as with the most keys.
struct Place {
  int64_t tile, head, first;
};
FW_DEVICE Place place_of(int64_t heads, int64_t slices) {
  const int64_t all = blocks() / (heads * slices);
  return {all - 1 - block() / (heads * slices), block() % heads, block() / heads % slices * kWide};
}

struct Forward {
  static constexpr int kThreads = kTileThreads;
  struct Args {
    In q, k, v;
    Out y, lse;
    Shape shape;
    int64_t slices;
  };
  using Shared = Tiles;

  static FW_DEVICE void run(const Args& x, Shared& tiles) {
    const Shape& shape = x.shape;
    const int64_t heads = shape.heads, keyHeads = shape.keyHeads;
    const auto [tile, h, first] = place_of(heads, x.slices);
    int64_t s, t;
    if (!Shape::find(shape.queries, tile, s, t)) return;
    const int64_t kh = h * keyHeads / heads, count = least(shape.queries.length(s) - t, kTile);
    const int64_t query = shape.queries.start(s) + t;
    const Rows q = rows_of(x.q, query, count, h, heads, shape.keyDim);

    Result result;
    clear(result);
    // Of the lane's two rows: the largest score so far, and this lane's share of the sum of exponentials.
    float top[2] = {-INFINITY, -INFINITY}, total[2] = {};
    for (int64_t key = shape.begin(s, t) / kTile * kTile; key < shape.end(s, t + count - 1); key += kTile) {
      const Pair pair = pair_of(shape, s, t, key);
      Scores p;
      multiply_rows(p, q, rows_of(x.k, pair.key, pair.keys, kh, keyHeads, shape.keyDim), tiles);
      FW_UNROLL for (int half = 0; half < 2; half++) {
        float highest = top[half];
        FW_UNROLL for (int j = 0; j < kFragments; j++)
          FW_UNROLL for (int e = 2 * half; e < 2 * half + 2; e++) {
            p[j][e] *= shape.scale;
            if (pair.sees(scores_row(e), scores_column(j, e))) highest = fmaxf(highest, p[j][e]);
          }
        for (int mask = 1; mask < 4; mask *= 2) highest = fmaxf(highest, shuffleXor(highest, mask));
        // A row that has seen no key yet stays at -infinity, as one whose scores are: those weigh nothing yet.
        const float shrink = highest == top[half] ? 1.0f : expf(top[half] - highest);
        const float shift = highest == -INFINITY ? 0.0f : highest;
        top[half] = highest;
        total[half] *= shrink;
        FW_UNROLL for (int j = 0; j < kFragments; j++)
          FW_UNROLL for (int e = 2 * half; e < 2 * half + 2; e++) {
            p[j][e] = pair.sees(scores_row(e), scores_column(j, e)) ? expf(p[j][e] - shift) : 0.0f;
            total[half] += p[j][e];
          }
        FW_UNROLL for (int j = 0; j < kWide / 8; j++)
          FW_UNROLL for (int e = 2 * half; e < 2 * half + 2; e++) result[j][e] *= shrink;
      }
      add_weighted(result, p, rows_of(x.v, pair.key, pair.keys, kh, keyHeads, shape.valueDim), first, tiles);
    }

    FW_UNROLL for (int half = 0; half < 2; half++) {
      for (int mask = 1; mask < 4; mask *= 2) total[half] += shuffleXor(total[half], mask);
      const int64_t row = scores_row(2 * half);
      if (first == 0 && lane() % 4 == 0 && row < count)
        store(x.lse, (query + row) * heads + h, top[half] + logf(total[half]));
    }
    // A query that sees no key gets zeros, one that sees scores of -infinity only NaN.
    store_result(x.y, rows_of({}, query, count, h, heads, shape.valueDim), first, result, [&](int half) {
      const bool sees = shape.end(s, t + scores_row(2 * half)) > 0;
      return total[half] != 0 || sees ? 1 / total[half] : 0.0f;
    });
  }
};

struct BackwardArgs {
  In q, k, v, dy, lse, deltas;  // deltas [tokens, heads]: see Deltas
  Out dq, dk, dv;
  Shape shape;
  int64_t slices;
};

// The gradient of the score with probability p, whose output's gradient along the value is `along`.
FW_DEVICE float slope(float p, float along, float delta, float scale) { return scale * p * (along - delta); }

// delta = sum over the keys of p dp, which equals y . dy, from the very numbers it is taken off: where one key has all the
// probability nothing but zero may be left of dp - delta.
struct Deltas {
  static constexpr int kThreads = kTileThreads;
  struct Args {
    In q, k, v, dy, lse;
    float* deltas;
    Shape shape;
  };
  using Shared = Tiles;

  static FW_DEVICE void run(const Args& x, Shared& tiles) {
    const Shape& shape = x.shape;
    const auto [tile, h, first] = place_of(shape.heads, 1);
    int64_t s, t;
    if (!Shape::find(shape.queries, tile, s, t)) return;
    const int64_t kh = h * shape.keyHeads / shape.heads, count = least(shape.queries.length(s) - t, kTile);
    const int64_t query = shape.queries.start(s) + t;
    const Rows q = rows_of(x.q, query, count, h, shape.heads, shape.keyDim);
    const Rows dy = rows_of(x.dy, query, count, h, shape.heads, shape.valueDim);
    float lse[2] = {}, delta[2] = {};
    FW_UNROLL for (int half = 0; half < 2; half++) {
      const int64_t row = scores_row(2 * half);
      if (row < count) lse[half] = load(x.lse, (query + row) * shape.heads + h);
    }
    for (int64_t key = shape.begin(s, t) / kTile * kTile; key < shape.end(s, t + count - 1); key += kTile) {
      const Pair pair = pair_of(shape, s, t, key);
      Scores p, dp;
      multiply_rows(p, q, rows_of(x.k, pair.key, pair.keys, kh, shape.keyHeads, shape.keyDim), tiles);
      multiply_rows(dp, dy, rows_of(x.v, pair.key, pair.keys, kh, shape.keyHeads, shape.valueDim), tiles);
      FW_UNROLL for (int j = 0; j < kFragments; j++)
        FW_UNROLL for (int e = 0; e < 4; e++) {
          if (!pair.sees(scores_row(e), scores_column(j, e))) continue;
          delta[e / 2] += expf(shape.scale * p[j][e] - lse[e / 2]) * dp[j][e];
        }
    }
    FW_UNROLL for (int half = 0; half < 2; half++) {
      delta[half] += shuffleXor(delta[half], 1);
      delta[half] += shuffleXor(delta[half], 2);
      const int64_t row = scores_row(2 * half);
      if (lane() % 4 == 0 && row < count) x.deltas[(query + row) * shape.heads + h] = delta[half];
    }
  }
};

struct QueryGradients {
  static constexpr int kThreads = kTileThreads;
  using Args = BackwardArgs;
  using Shared = Tiles;

  static FW_DEVICE void run(const Args& x, Shared& tiles) {
    const Shape& shape = x.shape;
    const int64_t heads = shape.heads, keyHeads = shape.keyHeads;
    const auto [tile, h, first] = place_of(heads, x.slices);
    int64_t s, t;
    if (!Shape::find(shape.queries, tile, s, t)) return;
    const int64_t kh = h * keyHeads / heads, count = least(shape.queries.length(s) - t, kTile);
    const int64_t query = shape.queries.start(s) + t;
    const Rows q = rows_of(x.q, query, count, h, heads, shape.keyDim);
    const Rows dy = rows_of(x.dy, query, count, h, heads, shape.valueDim);
    float lse[2] = {}, delta[2] = {};
    FW_UNROLL for (int half = 0; half < 2; half++) {
      const int64_t row = scores_row(2 * half);
      if (row >= count) continue;
      lse[half] = load(x.lse, (query + row) * heads + h);
      delta[half] = load(x.deltas, (query + row) * heads + h);
    }

    Result dq;
    clear(dq);
    for (int64_t key = shape.begin(s, t) / kTile * kTile; key < shape.end(s, t + count - 1); key += kTile) {
      const Pair pair = pair_of(shape, s, t, key);
      const Rows k = rows_of(x.k, pair.key, pair.keys, kh, keyHeads, shape.keyDim);
      Scores p, dp;
      multiply_rows(p, q, k, tiles);
      multiply_rows(dp, dy, rows_of(x.v, pair.key, pair.keys, kh, keyHeads, shape.valueDim), tiles);
      FW_UNROLL for (int j = 0; j < kFragments; j++)
        FW_UNROLL for (int e = 0; e < 4; e++) {
          const bool sees = pair.sees(scores_row(e), scores_column(j, e));
          p[j][e] = sees ? expf(shape.scale * p[j][e] - lse[e / 2]) : 0.0f;
          p[j][e] = sees ? slope(p[j][e], dp[j][e], delta[e / 2], shape.scale) : 0.0f;
        }
      add_weighted(dq, p, k, first, tiles);
    }
    store_result(x.dq, q, first, dq, [](int) { return 1.0f; });
  }
};

// Rows are keys here, and columns queries: those of all heads that read the key's head, in their order.
struct KeyGradients {
  static constexpr int kThreads = kTileThreads;
  using Args = BackwardArgs;
  struct Shared {
    Tiles tiles;
    float lse[kTile], deltas[kTile];
  };

  static FW_DEVICE void run(const Args& x, Shared& shared) {
    const Shape& shape = x.shape;
    const int64_t heads = shape.heads, keyHeads = shape.keyHeads, group = heads / keyHeads;
    const auto [tile, kh, first] = place_of(keyHeads, x.slices);
    int64_t s, key;
    if (!Shape::find(shape.keys, tile, s, key)) return;
    const int64_t queries = shape.queries.length(s), keys = shape.keys.length(s), count = least(keys - key, kTile);
    const Rows k = rows_of(x.k, shape.keys.start(s) + key, count, kh, keyHeads, shape.keyDim);
    const Rows v = rows_of(x.v, shape.keys.start(s) + key, count, kh, keyHeads, shape.valueDim);
    // The queries that see one of the keys: from the first key's own position to the last one's end of the window.
    const int64_t from = most(key - (keys - queries), 0) / kTile * kTile;
    const int64_t last = key + count - 1 - (keys - queries) + shape.window;
    const int64_t to = shape.window > 0 ? least(last, queries) : queries;

    Result dk, dv;
    clear(dk);
    clear(dv);
    for (int64_t h = kh * group; h < (kh + 1) * group; h++)
      for (int64_t t = from; t < to; t += kTile) {
        const Pair pair = pair_of(shape, s, t, key);
        const Rows q = rows_of(x.q, pair.query, pair.queries, h, heads, shape.keyDim);
        const Rows dy = rows_of(x.dy, pair.query, pair.queries, h, heads, shape.valueDim);
        if (thread() < pair.queries) {
          shared.lse[thread()] = load(x.lse, (pair.query + thread()) * heads + h);
          shared.deltas[thread()] = load(x.deltas, (pair.query + thread()) * heads + h);
        }
        Scores p;
        multiply_rows(p, k, q, shared.tiles);
        FW_UNROLL for (int j = 0; j < kFragments; j++)
          FW_UNROLL for (int e = 0; e < 4; e++) {
            const int column = scores_column(j, e);
            p[j][e] = pair.sees(column, scores_row(e)) ? expf(shape.scale * p[j][e] - shared.lse[column]) : 0.0f;
          }
        add_weighted(dv, p, dy, first, shared.tiles);
        if (first >= shape.keyDim) continue;
        multiply_rows(p, v, dy, shared.tiles);
        FW_UNROLL for (int j = 0; j < kFragments; j++)
          FW_UNROLL for (int e = 0; e < 4; e++) {
            const int row = scores_row(e), column = scores_column(j, e);
            // The lane's own probabilities, as it left them for dv: here they take no registers meanwhile.
            const float probability = shared.tiles.weights[row][column];
            const bool sees = pair.sees(column, row);
            p[j][e] = sees ? slope(probability, p[j][e], shared.deltas[column], shape.scale) : 0.0f;
          }
        add_weighted(dk, p, q, first, shared.tiles);
      }
    store_result(x.dk, k, first, dk, [](int) { return 1.0f; });
    store_result(x.dv, v, first, dv, [](int) { return 1.0f; });
  }
};

}  // namespace

void attention(const Context& cx, const attentionArgs& x) {
  const Shape shape = shape_of(x);
  // Without values there are still the sums of exponentials to store.
  const int64_t slices = x.valueDim > 0 ? ceil_div(x.valueDim, kWide) : 1;
  launch<Forward>(cx, Shape::tiles(shape.queries) * x.heads * slices, {x.q, x.k, x.v, x.y, x.lse, shape, slices});
}

void attentionBackward(const Context& cx, const attentionBackwardArgs& x) {
  const Shape shape = shape_of(x);
  float* const deltas = cx.scratch_of<float>(shape.queries.total() * x.heads);
  launch<Deltas>(cx, Shape::tiles(shape.queries) * x.heads, {x.q, x.k, x.v, x.dy, x.lse, deltas, shape});
  const int64_t slices = ceil_div(x.keyDim, kWide), of_values = ceil_div(x.valueDim, kWide);
  BackwardArgs args{x.q, x.k, x.v, x.dy, x.lse, {}, x.dq, x.dk, x.dv, shape, slices};
  args.deltas.data = deltas;
  launch<QueryGradients>(cx, Shape::tiles(shape.queries) * x.heads * slices, args);
  args.slices = slices > of_values ? slices : of_values;
  launch<KeyGradients>(cx, Shape::tiles(shape.keys) * x.keyHeads * args.slices, args);
}

}  // namespace fw::cuda
