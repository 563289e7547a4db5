// The scores of all chunks, in parallel: a block for each chunk and head, whose warps have sixteen tokens each.
#include "engine.cuh"
#include "inverse.cuh"
#include "scores.cuh"

namespace fw::cuda::walk {
namespace {

// Below this a power of two is zero in float32: what a token forgets more thoroughly, infinity included, is not told apart.
constexpr float kForgotten = -160;

template <int K>
struct Prepare {
  static constexpr int kThreads = kTokens / 16 * kWarp;
  struct Args {
    Problem p;
    Scores* scores;
    Direction direction;
  };
  struct Operands {
    uint16_t keys[kTokens * K], queries[kTokens * K];
  };
  struct alignas(128) Shared {
    union {
      Operands operands;
      BlockInverse inverse;
    };
    alignas(16) float gates[kTokens], beta[kTokens];
  };

  static FW_DEVICE void run(const Args& args, Shared& shared) {
    const Problem& p = args.p;
    const Chunk chunk = chunk_at<kTokens>(p, p.firstChunk + block() / p.heads);
    if (chunk.count == 0) return;
    const int64_t h = block() % p.heads;
    Scores& to = args.scores[place_of(p, chunk, h)];
    copy_rows<K, kThreads>(shared.operands.keys, source_of(p.k, p.heads, h, chunk.begin), 0, chunk.count);
    copy_rows<K, kThreads>(shared.operands.queries, source_of(p.q, p.heads, h, chunk.begin), 0, chunk.count);
    copyCommit();
    if (warp() == 0) sum_gates(p, chunk, h, shared);
    copyWait<0>();
    barrier();
    float read[8][4] = {}, erase[8][4] = {};
    multiply_keys(p, shared.operands, read, erase);
    barrier();
    weigh(p, shared, read, erase, to);
    if (!p.erase) return;
    shared.inverse.invert();
    put_solve(shared, args.direction, to);
  }

  // A lane has two neighbouring tokens. Tokens beyond the last have no gate and write nothing.
  static FW_DEVICE void sum_gates(const Problem& p, const Chunk& chunk, int64_t h, Shared& shared) {
    constexpr float kLog2e = 1.44269504f;
    float gates[2];
    FW_UNROLL for (int i = 0; i < 2; i++) {
      const int t = 2 * lane() + i;
      const bool live = t < chunk.count;
      const float gate = live ? kLog2e * gate_at(p, chunk.begin + t, h, 0) : 0;
      gates[i] = gate < kForgotten ? kForgotten : gate;
      shared.beta[t] = live && p.erase ? beta_at(p, chunk.begin + t, h, 0) : 0;
    }
    float through = gates[0] + gates[1];
    for (int distance = 1; distance < kWarp; distance *= 2) {
      const float left = shuffle(through, lane() - distance);
      if (lane() >= distance) through += left;
    }
    const float left = shuffle(through, lane() - 1);
    shared.gates[2 * lane()] = (lane() > 0 ? left : 0) + gates[0];
    shared.gates[2 * lane() + 1] = through;
  }

  // q_t . k_j and k_t . k_j for the warp's sixteen tokens t, later ones j included.
  static FW_DEVICE void multiply_keys(const Problem& p, const Operands& x, float (&read)[8][4], float (&erase)[8][4]) {
    const int own = moved(at(lane() % 16, lane() / 16 * 8), 16 * warp(), 0);
    FW_UNROLL for (int k = 0; k < K / 16; k++) {
      uint32_t a[4];
      loadMatrix(a, x.queries + moved(own, 0, 16 * k));
      MmaEngine::rows(read, a, x.keys, k);
      if (!p.erase) continue;
      loadMatrix(a, x.keys + moved(own, 0, 16 * k));
      MmaEngine::rows(erase, a, x.keys, k);
    }
  }

  static FW_DEVICE void weigh(const Problem& p, Shared& shared, const float (&read)[8][4], const float (&erase)[8][4],
                              Scores& to) {
    FW_UNROLL for (int j = 0; j < 8; j++) {
      FW_UNROLL for (int half = 0; half < 2; half++) {
        const int t = 16 * warp() + lane() / 4 + 8 * half, first = 8 * j + lane() % 4 * 2;
        float of_read[2] = {}, of_erase[2] = {};
        if (8 * j < 16 * warp() + 16) {
          FW_UNROLL for (int i = 0; i < 2; i++) {
            const bool acts = first + i <= t;
            const float decay = exp2f(acts ? shared.gates[t] - shared.gates[first + i] : 0);
            of_read[i] = acts ? p.scale * decay * read[j][2 * half + i] : 0;
            of_erase[i] = first + i < t ? shared.beta[t] * decay * erase[j][2 * half + i] : 0;
          }
          const PairSplit pair = splitPair(of_read[0], of_read[1]);
          *reinterpret_cast<uint32_t*>(to.read + at(t, first)) = pair.high;
          *reinterpret_cast<uint32_t*>(to.read_low + at(t, first)) = pair.low;
        }
        if (!p.erase) continue;
        float* const row = shared.inverse.matrix + t * BlockInverse::kRow + first;
        *reinterpret_cast<float2*>(row) = make_float2(of_erase[0], of_erase[1]);
      }
    }
    if (thread() >= kTokens) return;
    to.through[thread()] = exp2f(shared.gates[thread()]);
    to.rest[thread()] = exp2f(shared.gates[kTokens - 1] - shared.gates[thread()]);
    to.beta[thread()] = shared.beta[thread()], to.gates[thread()] = shared.gates[thread()];
  }

  static FW_DEVICE void put_solve(const Shared& shared, Direction direction, Scores& to) {
    FW_UNROLL for (int first = 0; first < kSquare / kPiece; first += kThreads) {
      const int row = (first + thread()) / 8, column = (first + thread()) % 8 * kPiece;
      if (!is_lower(row, column)) continue;
      PairSplit pairs[4];
      FW_UNROLL for (int i = 0; i < 4; i += 2) {
        const float4 x = four_at(shared.inverse.matrix + row * BlockInverse::kRow + column + 2 * i);
        const bool on = direction == Direction::kOn;
        const float4 beta = on ? four_at(shared.beta + column + 2 * i) : make_float4(1, 1, 1, 1);
        pairs[i] = splitPair(x.x * beta.x, x.y * beta.y), pairs[i + 1] = splitPair(x.z * beta.z, x.w * beta.w);
      }
      *reinterpret_cast<uint4*>(to.solve + at(row, column)) =
          make_uint4(pairs[0].high, pairs[1].high, pairs[2].high, pairs[3].high);
      *reinterpret_cast<uint4*>(to.solve_low + at(row, column)) =
          make_uint4(pairs[0].low, pairs[1].low, pairs[2].low, pairs[3].low);
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

}  // namespace fw::cuda::walk
