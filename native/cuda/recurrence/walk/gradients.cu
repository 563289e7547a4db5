// Gradients of keys, queries, strengths and gates (spec 2.15), a block for each chunk and head. With P, dS of the trace, S
// the state before the chunk, R what was written, and D_tj = e^(b_t - b_j) for j <= t,
//   dq = scale through (dO S^T) + dRead K                  dRead = scale D (dO R^T)
//   dk = rest (R dS^T) - beta through (P S^T) + dRead^T Q + (dErase + dErase^T) K      dErase = -beta D (P R^T), j < t
// and for strengths and gates what sums.cuh says. A warp has sixteen tokens and half of the keys, or of the tokens
// that they form pairs with. States are rounded once; R, P and the gradients of scores are sums of two numbers of bfloat16.
#include "backward.cuh"
#include "rows.cuh"
#include "sums.cuh"
#include "values.cuh"

namespace fw::cuda::walk {
namespace {

template <int K>
struct Gradients {
  static constexpr int kThreads = 2 * kTokens / 16 * kWarp;
  static constexpr int kKeys = K / 2, kPairs = kTokens / 2;  // of a warp
  struct Args {
    Problem p;
    Trace trace;
    const float *states, *written;
    Out dq, dk;
    OutMaybe dgate, dbeta;
  };
  using Keys = float[kKeys / 8][4];
  using Pairs = float[kPairs / 8][4];

  // What takes the place of the last tiles of values.
  struct OverKeys {
    uint16_t keys[kTokens * K], queries[kTokens * K];
    uint16_t read[kSquare], read_low[kSquare], erase[kSquare], erase_low[kSquare];  // gradients of scores
    PairSums pairs;
  };
  struct alignas(128) Shared {
    union {
      ValueTiles<K, kThreads> values;
      OverKeys keys;
    };
    TokenSums<kThreads> sums;
  };

  struct Work {
    const Args& args;
    Chunk chunk;
    int64_t h, place;
    int row, half;  // of the warp: its first token, its half
  };

  static FW_DEVICE void run(const Args& args, Shared& shared) {
    const Problem& p = args.p;
    const Chunk chunk = chunk_at<kTokens>(p, p.firstChunk + block() / p.heads);
    if (chunk.count == 0) return;
    const int64_t h = block() % p.heads;
    const Work work = {args, chunk, h, place_of(p, chunk, h), warp() % 4 * 16, warp() / 4};
    Keys read = {}, erase = {}, write = {};
    Pairs dread = {}, derase = {};
    float own[2][4] = {};  // P V^T for the warp's tokens
    float across = 0;
    for (int tile = 0; tile < args.trace.tiles; tile++) {
      if (tile > 0) barrier();  // all have used the one before
      shared.values.fill(p, args.trace, args.states, args.written, chunk, h, tile,
                         [&](float s, float d) { across = fmaf(s, d, across); });
      barrier();
      multiply_values(work, shared.values, read, erase, write, dread, derase, own);
    }
    barrier();
    copy_rows<K, kThreads>(shared.keys.keys, source_of(p.k, p.heads, h, chunk.begin), 0, chunk.count);
    copy_rows<K, kThreads>(shared.keys.queries, source_of(p.q, p.heads, h, chunk.begin), 0, chunk.count);
    copyCommit();
    shared.sums.begin(args.trace.scores[work.place], across);
    copyWait<0>();
    barrier();
    weigh_pairs(work, shared, dread, derase);
    weigh_keys(work, shared, read, erase, write);
    if (work.half == 0) shared.sums.put_own(work.row, own);
    barrier();
    multiply_pairs(work, shared.keys, read, write);
    put(work, args.dq, read);
    put(work, args.dk, write);
    if (p.betaWidth) shared.sums.put_strengths(p, chunk, h, args.dbeta);
    if (p.gateWidth) shared.sums.put_gates(p, chunk, h, shared.keys.pairs, args.dgate);
  }

  // Sixteen rows of a tile as a left factor, from row and column 16 k on, or of its transpose.
  static FW_DEVICE void take(uint32_t (&a)[4], const uint16_t* tile, int row, int k) {
    loadMatrix(a, tile + moved(at(lane() % 16, lane() / 16 * 8), row, 16 * k));
  }
  static FW_DEVICE Factors take(const uint16_t* high, const uint16_t* low, int row, int k) {
    Factors a;
    take(a.high, high, row, k), take(a.low, low, row, k);
    return a;
  }
  static FW_DEVICE Factors take_turned(const uint16_t* high, const uint16_t* low, int row, int k) {
    const int place = moved(at(lane() / 16 * 8 + lane() % 8, lane() / 8 % 2 * 8), 16 * k, row);
    Factors a;
    loadMatrixT(a.high, high + place), loadMatrixT(a.low, low + place);
    return a;
  }

  // dO S^T, P S^T, R dS^T; dO R^T and P R^T for tokens no later than the warp's last, and P V^T for its own.
  static FW_DEVICE void multiply_values(const Work& work, const ValueTiles<K, kThreads>& x, Keys& read, Keys& erase,
                                        Keys& write, Pairs& dread, Pairs& derase, float (&own)[2][4]) {
    const bool erases = work.args.p.erase;
    const int keys = work.half * kKeys * 64, pairs = work.half * kPairs * 64;
    const int beyond = work.row + 16 - work.half * kPairs;
    Engine::begin();
    FW_ROLLED for (int k = 0; k < 4; k++) {
      uint32_t right[4];
      take(right, x.right, work.row, k);
      Engine::rows(read, right, x.state + keys, k);
      Engine::rows(dread, right, x.written_low + pairs, k, 0, beyond);
      Engine::rows(dread, right, x.written + pairs, k, 0, beyond);
      Engine::rows(write, take(x.written, x.written_low, work.row, k), x.dstate + keys, k);
      if (!erases) continue;
      const Factors dwritten = take(x.dwritten, x.dwritten_low, work.row, k);
      Engine::rows(erase, dwritten, x.state + keys, k);
      Engine::rows(own, dwritten, x.values + work.row * 64, k);
      Engine::rows(derase, dwritten.high, x.written_low + pairs, k, 0, beyond);
      Engine::rows(derase, dwritten, x.written + pairs, k, 0, beyond);
    }
    Engine::end();
  }

  // Gradients of scores to shared memory, and what they add to those of strengths and gates.
  static FW_DEVICE void weigh_pairs(const Work& work, Shared& shared, const Pairs& dread, const Pairs& derase) {
    const Problem& p = work.args.p;
    const OverKeys& x = shared.keys;
    float erased[2] = {};
    FW_UNROLL for (int i = 0; i < kPairs / 8; i += 2) {
      const int first = work.half * kPairs + 8 * i;
      if (first > work.row) continue;
      float read[2][4] = {}, erase[2][4] = {};  // q_t . k_j and k_t . k_j
      FW_ROLLED for (int k = 0; k < K / 16; k += 2) {
        uint32_t queries[2][4], keys[2][4];
        FW_UNROLL for (int n = 0; n < 2; n++) {
          take(queries[n], x.queries, work.row, k + n);
          take(keys[n], x.keys, work.row, k + n);
        }
        FW_UNROLL for (int n = 0; n < 2; n++) {
          Engine::rows(read, queries[n], x.keys + first * 64, k + n);
          Engine::rows(erase, keys[n], x.keys + first * 64, k + n);
        }
      }
      FW_UNROLL for (int n = 0; n < 4; n++) {
        const int half = n / 2, t = work.row + lane() / 4 + 8 * half, j = first + n % 2 * 8 + own_token();
        const float* const from[] = {&dread[i + n % 2][2 * half], &derase[i + n % 2][2 * half]};
        const float* const with[] = {&read[n % 2][2 * half], &erase[n % 2][2 * half]};
        erased[half] += weigh_pair(p, shared, t, j, from, with);
      }
    }
    FW_UNROLL for (int half = 0; half < 2; half++) {
      shared.sums.put(shared.sums.of_pairs, work.half, work.row + lane() / 4 + 8 * half, erased[half]);
    }
  }

  // Tokens j and j + 1 before t: dO R^T and P R^T, and what their gradients are multiplied with for gates. Returns what
  // TokenSums::of_pairs adds up.
  static FW_DEVICE float weigh_pair(const Problem& p, Shared& shared, int t, int j, const float* const (&from)[2],
                                    const float* const (&with)[2]) {
    auto& sums = shared.sums;
    float read[2], erase[2], erased = 0;
    FW_UNROLL for (int e = 0; e < 2; e++) {
      const bool reads = j + e <= t, erases = j + e < t;
      const float decay = exp2f(reads ? sums.gates[t] - sums.gates[j + e] : 0);
      const float removed = erases ? decay * from[1][e] : 0;
      read[e] = reads ? p.scale * decay * from[0][e] : 0, erase[e] = -sums.beta[t] * removed;
      erased += removed * with[1][e];
      if (j + e == t) sums.written[t] = from[1][e];
      if (p.gateWidth) shared.keys.pairs.at(t, j + e) = read[e] * with[0][e] + erase[e] * with[1][e];
    }
    const PairSplit of_read = splitPair(read[0], read[1]), of_erase = splitPair(erase[0], erase[1]);
    const int place = at(t, j);
    *reinterpret_cast<uint32_t*>(shared.keys.read + place) = of_read.high;
    *reinterpret_cast<uint32_t*>(shared.keys.read_low + place) = of_read.low;
    if (!p.erase) return 0;
    *reinterpret_cast<uint32_t*>(shared.keys.erase + place) = of_erase.high;
    *reinterpret_cast<uint32_t*>(shared.keys.erase_low + place) = of_erase.low;
    return erased;
  }

  // The parts that come from states, weighed; the sum of both of keys in `write`.
  static FW_DEVICE void weigh_keys(const Work& work, Shared& shared, Keys& read, const Keys& erase, Keys& write) {
    const Problem& p = work.args.p;
    auto& sums = shared.sums;
    FW_UNROLL for (int half = 0; half < 2; half++) {
      const int t = work.row + lane() / 4 + 8 * half, place = at(t, own_token());
      const float through = exp2f(sums.gates[t]), rest = exp2f(sums.gates[kTokens - 1] - sums.gates[t]);
      float of_read = 0, of_erase = 0, of_write = 0;
      FW_UNROLL for (int i = 0; i < kKeys / 8; i++) {
        const int from = moved(place, 0, work.half * kKeys + 8 * i);
        const uint32_t key = *reinterpret_cast<const uint32_t*>(shared.keys.keys + from);
        const uint32_t query = *reinterpret_cast<const uint32_t*>(shared.keys.queries + from);
        FW_UNROLL for (int e = 0; e < 2; e++) {
          const float k = e == 0 ? firstOfPair(key) : secondOfPair(key);
          float &to = read[i][2 * half + e], &by = write[i][2 * half + e];
          const float removed = erase[i][2 * half + e];
          of_read = fmaf(e == 0 ? firstOfPair(query) : secondOfPair(query), to, of_read);
          of_erase = fmaf(k, removed, of_erase), of_write = fmaf(k, by, of_write);
          to *= p.scale * through;
          by = rest * by - sums.beta[t] * through * removed;
        }
      }
      sums.put(sums.of_read, work.half, t, of_read);
      sums.put(sums.of_erase, work.half, t, of_erase);
      sums.put(sums.of_write, work.half, t, of_write);
    }
  }

  static FW_DEVICE void multiply_pairs(const Work& work, const OverKeys& x, Keys& dq, Keys& dk) {
    const bool erases = work.args.p.erase;
    const auto columns = [&](Keys& sums, const Factors& a, const uint16_t* tile, int k) {
      Engine::columns(sums, a, tile, k, kKeys, work.half * kKeys);
    };
    Engine::begin();
    FW_UNROLL for (int k = 0; k < kTokens / 16; k++) {
      if (16 * k <= work.row) {
        columns(dq, take(x.read, x.read_low, work.row, k), x.keys, k);
        if (erases) columns(dk, take(x.erase, x.erase_low, work.row, k), x.keys, k);
      }
      if (16 * k < work.row) continue;
      columns(dk, take_turned(x.read, x.read_low, work.row, k), x.queries, k);
      if (erases) columns(dk, take_turned(x.erase, x.erase_low, work.row, k), x.keys, k);
    }
    Engine::end();
  }

  static FW_DEVICE void put(const Work& work, const Out& to, const Keys& x) {
    const Problem& p = work.args.p;
    FW_UNROLL for (int half = 0; half < 2; half++) {
      const int t = work.row + lane() / 4 + 8 * half;
      if (t >= work.chunk.count) continue;
      const int64_t place = ((work.chunk.begin + t) * p.heads + work.h) * K + kKeys * work.half + own_token();
      FW_UNROLL for (int i = 0; i < kKeys / 8; i++) put_pair(to, place + 8 * i, x[i][2 * half], x[i][2 * half + 1]);
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

}  // namespace fw::cuda::walk
