// Gradients of keys, queries, strengths and gates (spec 2.15), a block for each chunk and head. With P, dS of the trace, S
// the state before the chunk, R what was written, and D_tj = e^(b_t - b_j) for j <= t,
//   dq = scale through (dO S^T) + dRead K                  dRead = scale D (dO R^T)
//   dk = rest (R dS^T) - beta through (P S^T) + dRead^T Q + (dErase + dErase^T) K      dErase = -beta D (P R^T), j < t
// and for strengths and gates what sums.cuh says. A warp has sixteen tokens and half of the keys, or of the tokens
// that they form pairs with.
#include "backward.cuh"
#include "rows.cuh"
#include "sums.cuh"
#include "values.cuh"

namespace fw::cuda::float32 {
namespace {

template <int K>
struct Gradients {
  static constexpr int kThreads = 128, kAtOnce = 2;
  static constexpr int kKeys = K / 2, kPairs = kTokens / 2;  // of a warp
  struct Args {
    Problem p;
    Trace trace;
    In states, written;
    Out dq, dk;
    OutMaybe dgate, dbeta;
  };
  using Keys = float[kKeys / 8][4];
  using Pairs = float[kPairs / 8][4];

  // What takes the place of the last tiles of values.
  struct OverKeys {
    alignas(16) float keys[kTokens * K], queries[kTokens * K];
    float read[kTokens * kTokens], erase[kTokens * kTokens];  // gradients of scores
    PairSums pairs;
  };
  struct Shared {
    union {
      ValueTiles<K, kThreads> values;
      OverKeys keys;
    };
    TokenSums<kThreads> sums;
    ValueSource from;  // the same for all threads, whose registers are scarce
  };

  struct Work {
    const Args& args;
    Chunk chunk;
    int64_t h;
    int row, half;  // of the warp: its first token, its half
  };

  static FW_DEVICE void run(const Args& args, Shared& shared) {
    const Problem& p = args.p;
    const Chunk chunk = chunk_at<kTokens>(p, p.firstChunk + block() / p.heads);
    if (chunk.count == 0) return;
    const int64_t h = block() % p.heads;
    const Work work = {args, chunk, h, warp() % 2 * 16, warp() / 2};
    ValueSource& from = shared.from;
    if (thread() == 0) from.find(p, args.trace.dstates, args.trace.dwritten, args.states, args.written, chunk, h);
    shared.sums.begin(p, chunk, h);
    barrier();
    shared.values.begin(p, from, h);
    Keys read = {}, erase = {}, write = {};
    Pairs dread = {}, derase = {};
    float across = 0, own = 0;  // parts of S . dS, and of P . V for a token
    for (int first = 0; first < p.V; first += kTile) {
      if (first > 0) barrier();  // all have used the one before
      shared.values.fill(p, from, first);
      barrier();
      if (from.before.count > 0) {
        shared.values.pass();
        barrier();
      }
      shared.values.add_products(p.erase, across, own);
      multiply_values(work, shared.values, read, erase, write, dread, derase);
    }
    barrier();
    copy_rows<K, kThreads>(shared.keys.keys, source_of(p.k, p.heads, h, chunk.begin), 0, chunk.count);
    copy_rows<K, kThreads>(shared.keys.queries, source_of(p.q, p.heads, h, chunk.begin), 0, chunk.count);
    copyCommit();
    shared.sums.put_own(across, own);
    copyWait<0>();
    barrier();
    weigh_pairs(work, shared, dread, derase);
    weigh_keys(work, shared, read, erase, write);
    barrier();
    multiply_pairs(work, shared.keys, read, write);
    put(work, args.dq, read);
    put(work, args.dk, write);
    if (p.betaWidth) shared.sums.put_strengths(p, chunk, h, args.dbeta);
    if (p.gateWidth) shared.sums.put_gates(p, chunk, h, shared.keys.pairs, args.dgate);
  }

  // dO S^T, P S^T, R dS^T; dO R^T and P R^T.
  static FW_DEVICE void multiply_values(const Work& work, const ValueTiles<K, kThreads>& x, Keys& read, Keys& erase,
                                        Keys& write, Pairs& dread, Pairs& derase) {
    const int row = work.row / 8, keys = work.half * kKeys / 8, pairs = work.half * kPairs / 8;
    const RowsView<kTile> right(x.right), written(x.written), dwritten(x.dwritten), state(x.state), dstate(x.dstate);
    multiply(read, right, row, state, keys);
    multiply(write, written, row, dstate, keys);
    multiply(dread, right, row, written, pairs);
    if (!work.args.p.erase) return;
    multiply(erase, dwritten, row, state, keys);
    multiply(derase, dwritten, row, written, pairs);
  }

  // Gradients of scores to shared memory, and what they add to those of strengths and gates.
  static FW_DEVICE void weigh_pairs(const Work& work, Shared& shared, const Pairs& dread, const Pairs& derase) {
    const Problem& p = work.args.p;
    OverKeys& x = shared.keys;
    auto& sums = shared.sums;
    Pairs read = {}, erase = {};  // q_t . k_j and k_t . k_j
    const RowsView<K> queries(x.queries), keys(x.keys);
    FW_UNROLL for (int k = 0; k < K / 8; k += kTerms / 8) {
      multiply(read, queries, work.row / 8, keys, work.half * kPairs / 8, k);
      if (p.erase) multiply(erase, keys, work.row / 8, keys, work.half * kPairs / 8, k);
    }
    float erased[2] = {};
    FW_UNROLL for (int i = 0; i < kPairs / 8; i++) {
      FW_UNROLL for (int e = 0; e < 4; e++) {
        const int t = work.row + lane() / 4 + e / 2 * 8, j = work.half * kPairs + 8 * i + lane() % 4 * 2 + e % 2;
        const float decay = j <= t ? sums.gates.between(t, j) : 0;
        const float removed = j < t ? decay * derase[i][e] : 0;
        const float of_read = p.scale * decay * dread[i][e], of_erase = -sums.beta[t] * removed;
        erased[e / 2] += removed * erase[i][e];
        x.read[at<kTokens>(t, j)] = of_read, x.erase[at<kTokens>(t, j)] = of_erase;
        x.pairs.at(t, j) = of_read * read[i][e] + of_erase * erase[i][e];
      }
    }
    FW_UNROLL for (int e = 0; e < 2; e++) {
      sums.put(sums.of_pairs, work.half, work.row + lane() / 4 + 8 * e, erased[e]);
    }
  }

  // The parts that come from states, weighed; the sum of both of keys in `write`.
  static FW_DEVICE void weigh_keys(const Work& work, Shared& shared, Keys& read, const Keys& erase, Keys& write) {
    const Problem& p = work.args.p;
    auto& sums = shared.sums;
    FW_UNROLL for (int half = 0; half < 2; half++) {
      const int t = work.row + lane() / 4 + 8 * half, place = at<K>(t, lane() % 4 * 2);
      const float through = sums.gates.through(t), rest = sums.gates.rest(t), beta = sums.beta[t];
      float of_read = 0, of_erase = 0, of_write = 0;
      FW_UNROLL for (int i = 0; i < kKeys / 8; i++) {
        const int from = moved<K>(place, 0, work.half * kKeys + 8 * i);
        const float2 key = *reinterpret_cast<const float2*>(shared.keys.keys + from);
        const float2 query = *reinterpret_cast<const float2*>(shared.keys.queries + from);
        FW_UNROLL for (int e = 0; e < 2; e++) {
          const float k = e == 0 ? key.x : key.y, q = e == 0 ? query.x : query.y, removed = erase[i][2 * half + e];
          float &to = read[i][2 * half + e], &by = write[i][2 * half + e];
          of_read = fmaf(q, to, of_read), of_erase = fmaf(k, removed, of_erase), of_write = fmaf(k, by, of_write);
          to *= p.scale * through;
          by = rest * by - beta * through * removed;
        }
      }
      sums.put(sums.of_read, work.half, t, of_read);
      sums.put(sums.of_erase, work.half, t, of_erase);
      sums.put(sums.of_write, work.half, t, of_write);
    }
  }

  static FW_DEVICE void multiply_pairs(const Work& work, const OverKeys& x, Keys& dq, Keys& dk) {
    const ColumnsView<K> keys(x.keys), queries(x.queries);
    const RowsView<kTokens> read(x.read), erase(x.erase);
    const ColumnsView<kTokens> read_on(x.read), erase_on(x.erase);
    const int row = work.row / 8, first = work.half * kKeys / 8;
    multiply(dq, read, row, keys, first);
    multiply(dk, read_on, row, queries, first);
    if (!work.args.p.erase) return;
    multiply(dk, erase, row, keys, first);
    multiply(dk, erase_on, row, keys, first);
  }

  static FW_DEVICE void put(const Work& work, const Out& to, const Keys& x) {
    const Problem& p = work.args.p;
    FW_UNROLL for (int half = 0; half < 2; half++) {
      const int t = work.row + lane() / 4 + 8 * half;
      if (t >= work.chunk.count) continue;
      const int64_t place = ((work.chunk.begin + t) * p.heads + work.h) * K + kKeys * work.half + lane() % 4 * 2;
      FW_UNROLL for (int i = 0; i < kKeys / 8; i++) {
        put_pair(to, place + 8 * i, x[i][2 * half], x[i][2 * half + 1]);
      }
    }
  }
};

}  // namespace

template <int K>
void gradients(const Context& cx, const recurrenceBackwardArgs& args, const Problem& p, const Trace& trace) {
  launch<Gradients<K>>(cx, p.groupChunks * p.heads,
                       {p, trace, args.states, args.written, args.dq, args.dk, args.dgate, args.dbeta});
}
template void gradients<64>(const Context&, const recurrenceBackwardArgs&, const Problem&, const Trace&);
template void gradients<128>(const Context&, const recurrenceBackwardArgs&, const Problem&, const Trace&);

}  // namespace fw::cuda::float32
