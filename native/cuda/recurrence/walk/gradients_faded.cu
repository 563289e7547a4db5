// Gradients of keys, queries, strengths and gates where every key has a gate of its own (spec 2.15), a block for each
// chunk and head. Such gates cannot leave the product of two keys: what comes of the states before and after the chunk,
// and of pairs of tokens, fades key by key. A warp has sixteen keys of all tokens; and, of the products over values, some
// of the gradients of scores, which all warps read.
#include "backward_faded.cuh"
#include "octets_back.cuh"
#include "runs_back.cuh"
#include "values.cuh"

namespace fw::cuda::walk {
namespace {

template <int K, bool kErases>
struct GradientsFaded {
  static constexpr int kWarps = K / 16, kThreads = kWarps * kWarp;
  static constexpr int kPairs = kTokens / 2, kJobs = 8 / kWarps;  // halves of sixteen rows of scores, of a warp
  struct Args {
    Problem p;
    Trace trace;
    const float *states, *written;
    Out dq, dk;
    OutMaybe dgate, dbeta;
  };
  using Pairs = float[kPairs / 8][4];
  using Values = ValueTiles<K, kThreads>;

  struct KeyTiles {
    uint16_t keys[kTokens * K], queries[kTokens * K];
  };
  // What takes the place of the last tiles of values.
  struct OverKeys {
    ScoreGradients scores;
    union {
      KeyTiles rows;
      Fading<K> fading;
    };
  };
  struct alignas(128) Shared {
    union {
      Values values;
      OverKeys keys;
    };
    StrengthSums<kWarps> strengths;
    Chunk chunk;  // for what comes last, and its head: until then there are no registers for them
    int64_t h;
  };

  // Sums over values.
  struct OfStates {
    Rows read = {}, erase = {}, write = {};  // S dO^T, S P^T and dS R^T: rows of the warp's keys
    float across[2] = {};                    // parts of S . dS for the lane's keys
  };
  struct Job {
    Pairs read = {}, erase = {};  // dO R^T and P R^T
    float own[2][4] = {};         // P V^T for sixteen tokens with themselves

    // Of later rows more is lower triangular: the half of the tokens that all of them have goes to warps in order, the
    // other one the other way round, so that none has much more than others.
    static FW_DEVICE int half(int job) { return (warp() + job * kWarps) / 4; }
    static FW_DEVICE int row(int job) { return 16 * (half(job) == 0 ? warp() % 4 : 3 - warp() % 4); }
  };

  static FW_DEVICE void run(const Args& args, Shared& shared) {
    const Problem& p = args.p;
    const Chunk chunk = chunk_at<kTokens>(p, p.firstChunk + block() / p.heads);
    if (chunk.count == 0) return;
    const int64_t h = block() % p.heads;
    OfStates sums;
    Job jobs[kJobs];
    for (int tile = 0; tile < args.trace.tiles; tile++) {
      if (tile > 0) barrier();  // all have used the one before
      shared.values.fill(p, args.trace, args.states, args.written, chunk, h, tile, [](float, float) {});
      barrier();
      multiply_values(shared.values, sums, jobs);
    }
    barrier();
    OverKeys& x = shared.keys;
    copy_rows<K, kThreads>(x.rows.keys, source_of(p.k, p.heads, h, chunk.begin), 0, chunk.count);
    copy_rows<K, kThreads>(x.rows.queries, source_of(p.q, p.heads, h, chunk.begin), 0, chunk.count);
    copyCommit();
    shared.strengths.begin(p, chunk, h);
    if (thread() == 0) shared.chunk = chunk, shared.h = h;
    FW_UNROLL for (int i = 0; i < kJobs; i++) put_scores(shared, i, jobs[i]);
    Octet octet;
    octet.load(octet_source(p, chunk, h, first_of_octet(), key_of_octet()), p.gate, 0);
    copyWait<0>();
    barrier();
    RunsBack<K, kErases> runs(p.scale, chunk.count, x.fading, x.scores, shared.strengths);
    runs.take(x.rows.keys, x.rows.queries);
    barrier();  // all have taken them
    x.fading.put(octet);
    warpSync();
    runs.add_states(sums.read, sums.erase, sums.write, sums.across);
    runs.add_pairs();
    put_gradients(args, shared, runs);
    if (kErases && p.betaWidth) shared.strengths.put(p, shared.chunk, shared.h, args.dbeta);
  }

  // Sixteen rows of a tile as a left factor, from row and column 16 k on.
  static FW_DEVICE void take(uint32_t (&a)[4], const uint16_t* tile, int row, int k) {
    loadMatrix(a, tile + moved(at(lane() % 16, lane() / 16 * 8), row, 16 * k));
  }

  static FW_DEVICE void multiply_values(const Values& x, OfStates& sums, Job (&jobs)[kJobs]) {
    FW_ROLLED for (int k = 0; k < 4; k++) {
      uint32_t state[4], dstate[4];
      take(state, x.state, 16 * warp(), k);
      take(dstate, x.dstate, 16 * warp(), k);
      FW_UNROLL for (int i = 0; i < 4; i++) {
        sums.across[i % 2] = fmaf(firstOfPair(state[i]), firstOfPair(dstate[i]), sums.across[i % 2]);
        sums.across[i % 2] = fmaf(secondOfPair(state[i]), secondOfPair(dstate[i]), sums.across[i % 2]);
      }
      Engine::rows(sums.read, state, x.right, k);
      if constexpr (kErases) {
        Engine::rows(sums.erase, state, x.dwritten_low, k);
        Engine::rows(sums.erase, state, x.dwritten, k);
        Engine::rows(sums.write, dstate, x.written_low, k);
      }
      Engine::rows(sums.write, dstate, x.written, k);
      FW_UNROLL for (int i = 0; i < kJobs; i++) multiply_pairs(x, i, k, jobs[i]);
    }
  }
  // For tokens no later than the last of the rows.
  static FW_DEVICE void multiply_pairs(const Values& x, int number, int k, Job& job) {
    const int row = Job::row(number), first = Job::half(number) * kPairs, beyond = row + 16 - first;
    if (beyond <= 0) return;
    uint32_t right[4];
    take(right, x.right, row, k);
    const uint16_t* const written = x.written + first * 64;
    const uint16_t* const written_low = x.written_low + first * 64;
    if constexpr (kErases) Engine::rows(job.read, right, written_low, k, 0, beyond);
    Engine::rows(job.read, right, written, k, 0, beyond);
    if constexpr (!kErases) return;
    Factors dwritten;
    take(dwritten.high, x.dwritten, row, k), take(dwritten.low, x.dwritten_low, row, k);
    Engine::rows(job.erase, dwritten.high, written_low, k, 0, beyond);
    Engine::rows(job.erase, dwritten, written, k, 0, beyond);
    if (row / kPairs == Job::half(number)) Engine::rows(job.own, dwritten, x.values + row * 64, k);
  }

  static FW_DEVICE void put_scores(Shared& shared, int number, const Job& job) {
    ScoreGradients& to = shared.keys.scores;
    const int row = Job::row(number), first = Job::half(number) * kPairs;
    FW_UNROLL for (int i = 0; i < kPairs / 8; i++) {
      if (first + 8 * i >= row + 16) continue;
      FW_UNROLL for (int half = 0; half < 2; half++) {
        const int t = row + lane() / 4 + 8 * half, j = first + 8 * i + own_token();
        const float* const read = &job.read[i][2 * half];
        ScoreGradients::put(to.read, to.read_low, t, j, read[0], read[1]);
        if constexpr (!kErases) continue;
        const float* const erase = &job.erase[i][2 * half];
        ScoreGradients::put(to.erase, to.erase_low, t, j, erase[0], erase[1]);
        FW_UNROLL for (int e = 0; e < 2; e++) {
          if (j + e == t) shared.strengths.written[t] = erase[e];
        }
      }
    }
    if (!kErases || row / kPairs != Job::half(number)) return;
    FW_UNROLL for (int e = 0; e < 4; e++) {
      const int t = lane() / 4, j = own_token() + e % 2;
      if (t == j) shared.strengths.values[row + e / 2 * 8 + t] = job.own[e / 2][e];
    }
  }

  // A lane gets all of an octet, and adds what its tokens have of each other.
  static FW_DEVICE void put_gradients(const Args& args, Shared& shared, RunsBack<K, kErases>& runs) {
    Fading<K>& memory = shared.keys.fading;
    auto& strengths = shared.strengths;
    const auto from = runs.finish();
    OctetGradients gradients;
    memory.through.turn(from.dq, gradients.dq);
    memory.rest.turn(from.dk, gradients.dk);
    memory.through.turn(from.dgate, gradients.dgate);
    const Chunk chunk = shared.chunk;
    const int64_t h = shared.h;
    Octet octet;
    octet.load(octet_source(args.p, chunk, h, first_of_octet(), key_of_octet()), args.p.gate, 0);
    const auto add_removed = [&](int t, float part) {
      FW_UNROLL for (int mask = 1; mask < 4; mask *= 2) part += shuffleXor(part, mask);
      if (lane() % 4 == 0) strengths.removed[warp()][t] += part;
    };
    gradients.template add_pairs<kErases>(octet, shared.keys.scores, strengths.beta, args.p.scale, add_removed);
    FW_UNROLL for (int r = 0; r < 8; r++) {
      const int t = first_of_octet() + r;
      if (t >= chunk.count) continue;
      const int64_t place = ((chunk.begin + t) * args.p.heads + h) * K + key_of_octet();
      put_four(args.dq, place, gradients.dq[r]);
      put_four(args.dk, place, gradients.dk[r]);
      put_four(args.dgate, place, gradients.dgate[r]);
    }
  }
  static FW_DEVICE void put_four(const Out& to, int64_t at, const float (&x)[4]) {
    if (to.dtype == kFloat32) {
      *reinterpret_cast<float4*>(static_cast<float*>(to.data) + at) = make_float4(x[0], x[1], x[2], x[3]);
    } else {
      *reinterpret_cast<uint2*>(static_cast<uint16_t*>(to.data) + at) =
          make_uint2(toBfloat16Pair(x[0], x[1]), toBfloat16Pair(x[2], x[3]));
    }
  }
};

template <int K, bool kErases>
void start(const Context& cx, const recurrenceBackwardArgs& args, const Problem& p, const Trace& trace) {
  launch<GradientsFaded<K, kErases>>(cx, p.groupChunks * p.heads,
                                     {p, trace, args.states, args.written, args.dq, args.dk, args.dgate, args.dbeta});
}

}  // namespace

template <int K>
void gradients_faded(const Context& cx, const recurrenceBackwardArgs& args, const Problem& p, const Trace& trace) {
  const auto way = p.erase ? start<K, true> : start<K, false>;
  way(cx, args, p, trace);
}
template void gradients_faded<64>(const Context&, const recurrenceBackwardArgs&, const Problem&, const Trace&);
template void gradients_faded<128>(const Context&, const recurrenceBackwardArgs&, const Problem&, const Trace&);

}  // namespace fw::cuda::walk
