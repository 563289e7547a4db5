// The scores of all chunks, in parallel: a block for each chunk and head.
#include "gates.cuh"
#include "scores.cuh"

namespace fw::cuda::float32 {
namespace {

// A, as the sum of two numbers of TF32 and what is left.
struct Erases {
  static constexpr int kRow = kTokens + kPiece;
  float matrix[kTokens * kRow], low[kTokens * kRow];

  FW_DEVICE void put(int t, int j, const Sum& x) {
    const Split parts = split(x.value);
    const float two = fromBits(parts.high) + fromBits(parts.low & kTf32Bits);
    matrix[t * kRow + j] = two, low[t * kRow + j] = (x.value - two) + x.rest;
  }

  // The inverses of the blocks of I + A on the diagonal in place of A's, by a warp whose lanes have a column each.
  FW_DEVICE void invert() {
    const int column = lane() % 8, first = lane() - column;
    Sum x[8];
    FW_UNROLL for (int t = 0; t < 8; t++) {
      x[t].value = t == column ? 1 : 0;
      FW_UNROLL for (int j = 0; j < t; j++) {
        const int place = (first + t) * kRow + first + j;
        Sum term = {-matrix[place], -low[place]};
        term.multiply(x[j]);
        x[t].add(term);
      }
    }
    warpSync();
    FW_UNROLL for (int t = 0; t < 8; t++) put(first + t, first + column, x[t]);
  }
};

template <int K>
struct Prepare {
  static constexpr int kThreads = 128;
  struct Args {
    Problem p;
    Scores* scores;
    Direction direction;
  };
  struct Shared {
    alignas(16) float keys[kTokens * K], queries[kTokens * K];
    Erases erases;
    Gates gates;
    float beta[kTokens];
  };

  static FW_DEVICE void run(const Args& args, Shared& shared) {
    const Problem& p = args.p;
    const Division place = divide(block(), p.heads);
    const Chunk chunk = chunk_at<kTokens>(p, p.firstChunk + place.quotient);
    if (chunk.count == 0) return;
    const int64_t h = place.rest;
    copy_rows<K, kThreads>(shared.keys, source_of(p.k, p.heads, h, chunk.begin), 0, chunk.count);
    copy_rows<K, kThreads>(shared.queries, source_of(p.q, p.heads, h, chunk.begin), 0, chunk.count);
    copyCommit();
    if (warp() == 0) shared.gates.fill(p, chunk, h);
    if (warp() == 1) shared.beta[lane()] = strength_of(p, chunk, h, lane());
    copyWait<0>();
    barrier();
    Scores& to = args.scores[block()];  // they lie in the order of blocks
    read(args, shared, to);
    put_decays(shared, to);
    if (!p.erase) return;
    erase(shared);
    barrier();
    if (warp() == 0) shared.erases.invert();
    barrier();
    put_erases(args, shared, to);
  }

  // A warp has sixteen tokens, and as many of those up to them.
  static FW_DEVICE void read(const Args& args, const Shared& shared, Scores& to) {
    const int rows = warp() / 2 * 2, first = warp() % 2 * 2;  // sixteen tokens t, and as many j
    if (first > rows) return;
    float sums[2][4] = {};
    const RowsView<K> queries(shared.queries), keys(shared.keys);
    FW_UNROLL for (int k = 0; k < K / 8; k += kTerms / 8) multiply(sums, queries, rows, keys, first, k);
    FW_UNROLL for (int j = 0; j < 2; j++) {
      FW_UNROLL for (int e = 0; e < 4; e++) {
        const int t = 8 * rows + lane() / 4 + e / 2 * 8, from = 8 * (first + j) + lane() % 4 * 2 + e % 2;
        const float x = from <= t ? args.p.scale * shared.gates.between(t, from) * sums[j][e] : 0;
        put(to.read, args.direction, t, from, x);
      }
    }
  }

  static FW_DEVICE void put(float* lower, Direction direction, int t, int j, float x) {
    if (j / 8 > t / 8) return;
    const bool turns = direction == Direction::kBack;
    lower[block_at(t / 8, j / 8) + (turns ? j : t) % 8 * 8 + (turns ? t : j) % 8] = x;
  }

  static FW_DEVICE void put_decays(const Shared& shared, Scores& to) {
    const int t = thread();
    if (t >= kTokens) return;
    to.through[t] = shared.gates.through(t), to.rest[t] = shared.gates.rest(t), to.beta[t] = shared.beta[t];
  }

  // A thread has two tokens t and two earlier ones: blocks below the diagonal of such blocks, and of the sixteen on it, of which
  // a pair each is wanted, two.
  static FW_DEVICE void erase(Shared& shared) {
    constexpr int kBlocksOfTwo = kTokens / 2, kBelow = kBlocksOfTwo * (kBlocksOfTwo - 1) / 2;
    static_assert(kBelow + kBlocksOfTwo / 2 == kThreads, "every thread has four pairs");
    const bool below = thread() < kBelow;
    int row = 1;
    while (below && row * (row + 1) / 2 <= thread()) row++;
    const int on = 4 * (thread() - kBelow), column = thread() - row * (row - 1) / 2;
    const int t[2] = {below ? 2 * row : on + 1, below ? 2 * row + 1 : on + 3};
    const int j[2] = {below ? 2 * column : on, below ? 2 * column + 1 : on + 2};
    Sum sums[2][2];
    FW_ROLLED for (int i = 0; i < K; i += kPiece) {
      float later[2][kPiece], earlier[2][kPiece];
      FW_UNROLL for (int n = 0; n < 2; n++) {
        take(later[n], shared.keys, t[n], i), take(earlier[n], shared.keys, j[n], i);
      }
      FW_UNROLL for (int e = 0; e < kPiece; e++)
        FW_UNROLL for (int n = 0; n < 4; n++) sums[n / 2][n % 2].add_product(later[n / 2][e], earlier[n % 2][e]);
    }
    FW_UNROLL for (int n = 0; n < 4; n++) {
      const int later = t[n / 2], earlier = j[n % 2];
      if (!below && n / 2 != n % 2) continue;
      sums[n / 2][n % 2].multiply(Sum{shared.beta[later] * shared.gates.between(later, earlier)});
      shared.erases.put(later, earlier, sums[n / 2][n % 2]);
    }
  }
  static FW_DEVICE void take(float (&x)[kPiece], const float* tile, int row, int column) {
    const float4 four = *reinterpret_cast<const float4*>(tile + at<K>(row, column));
    x[0] = four.x, x[1] = four.y, x[2] = four.z, x[3] = four.w;
  }

  static FW_DEVICE void put_erases(const Args& args, const Shared& shared, Scores& to) {
    for (int i = thread(); i < kTokens * kTokens; i += kThreads) {
      const int t = i / kTokens, j = i % kTokens, place = t * Erases::kRow + j;
      put(to.erase, args.direction, t, j, shared.erases.matrix[place]);
      put(to.erase_low, args.direction, t, j, shared.erases.low[place]);
    }
  }
};

}  // namespace

template <int K>
void prepare(const Context& cx, const Problem& p, Scores* scores, Direction direction) {
  launch<Prepare<K>>(cx, p.groupChunks * p.heads, {p, scores, direction});
}
template void prepare<64>(const Context&, const Problem&, Scores*, Direction);
template void prepare<128>(const Context&, const Problem&, Scores*, Direction);

}  // namespace fw::cuda::float32
