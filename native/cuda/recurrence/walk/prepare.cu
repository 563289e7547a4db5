// The scores of all chunks, in parallel: a block for each chunk and head, whose warps have sixteen tokens each.
#include "inverse.cuh"
#include "scores.cuh"

namespace fw::cuda::walk {
namespace {

// Below this a power of two is zero in float32: what a token forgets more thoroughly, infinity included, is not told apart.
constexpr float kForgotten = -160;

template <int K>
struct Prepare {
  static constexpr int kThreads = kTokens / 16 * kWarp, kAtOnce = 5;
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
    const Division place = divide(block(), p.heads);
    const Chunk chunk = chunk_at<kTokens>(p, p.firstChunk + place.quotient);
    if (chunk.count == 0) return;
    const int64_t h = place.rest;
    copy_rows<K, kThreads>(shared.operands.keys, source_of(p.k, p.heads, h, chunk.begin), 0, chunk.count);
    copy_rows<K, kThreads>(shared.operands.queries, source_of(p.q, p.heads, h, chunk.begin), 0, chunk.count);
    copyCommit();
    if (warp() == 0) sum_gates(p, chunk, h, shared);
    copyWait<0>();
    barrier();
    float read[8][4] = {}, erase[8][4] = {};
    multiply_keys(p, shared.operands, read, erase);
    barrier();
    Scores& to = args.scores[block()];  // they lie in the order of blocks
    weigh(p, shared, read, erase, to);
    if (!p.erase) return;
    shared.inverse.invert();
    put_solve(shared, args.direction, to);
  }

  // A lane has two neighbouring tokens. Tokens beyond the last have no gate and write nothing.
  static FW_DEVICE void sum_gates(const Problem& p, const Chunk& chunk, int64_t h, Shared& shared) {
    constexpr float kLog2e = 1.44269504f;
    const int64_t gate_head = own_head(p.gate, p.heads, h), beta_head = own_head(p.beta, p.heads, h);
    float gates[2];
    FW_UNROLL for (int i = 0; i < 2; i++) {
      const int t = 2 * lane() + i;
      const bool live = t < chunk.count;
      const float gate = live && p.gateWidth > 0 ? kLog2e * of_token(p.gate, chunk.begin + t, gate_head) : 0;
      gates[i] = gate < kForgotten ? kForgotten : gate;
      const float beta = live && p.betaWidth > 0 ? of_token(p.beta, chunk.begin + t, beta_head) : 1;
      shared.beta[t] = live && p.erase ? beta : 0;
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

  static FW_DEVICE float of_token(const Heads& x, int64_t token, int64_t head) {
    return element(x.data, x.dtype, token * x.token + head * x.head);
  }

  // q_t . k_j and k_t . k_j for the warp's sixteen tokens t and blocks of sixteen j up to theirs, read once for both. The
  // right factor of its own keys is the left one with the blocks in the middle exchanged.
  static FW_DEVICE void multiply_keys(const Problem& p, const Operands& x, float (&read)[8][4], float (&erase)[8][4]) {
    const int l = lane(), own = moved(at(l % 16, l / 16 * 8), 16 * warp(), 0);
    const int other = at(l / 16 * 8 + l % 8, l / 8 % 2 * 8);
    FW_UNROLL for (int k = 0; k < K / 16; k++) {
      uint32_t queries[4], keys[4];
      loadMatrix(queries, x.queries + moved(own, 0, 16 * k));
      loadMatrix(keys, x.keys + moved(own, 0, 16 * k));
      const auto multiply = [&](int j, uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
        const uint32_t pairs[2][2] = {{a, b}, {c, d}};
        FW_UNROLL for (int i = 0; i < 2; i++) {
          mmaBfloat16(read[2 * j + i], queries, pairs[i]);
          if (p.erase) mmaBfloat16(erase[2 * j + i], keys, pairs[i]);
        }
      };
      FW_UNROLL for (int j = 0; j < 4; j++) {
        uint32_t right[4];
        if (j < warp()) loadMatrix(right, x.keys + moved(other, 16 * j, 16 * k));
        if (j == warp()) multiply(j, keys[0], keys[2], keys[1], keys[3]);
        else if (j < warp()) multiply(j, right[0], right[1], right[2], right[3]);
      }
    }
  }

  static FW_DEVICE void weigh(const Problem& p, Shared& shared, const float (&read)[8][4], const float (&erase)[8][4],
                              Scores& to) {
    FW_UNROLL for (int four = 0; four < 2; four++) {
      if (2 * four > warp()) continue;
      const int first = 32 * four + lane() % 4 * 2;
      float2 gates[4];
      FW_UNROLL for (int of = 0; of < 4; of++) gates[of] = pair_at(shared.gates + first + 8 * of);
      FW_UNROLL for (int half = 0; half < 2; half++) {
        const int t = 16 * warp() + lane() / 4 + 8 * half;
        const float gate = shared.gates[t], beta = shared.beta[t];
        uint32_t high[4], low[4];
        FW_UNROLL for (int of = 0; of < 4; of++) {
          const int j = 4 * four + of;
          float x[2], y[2];
          FW_UNROLL for (int i = 0; i < 2; i++) {
            const int before = t - (first + 8 * of + i);
            const float decay = exp2f(before >= 0 ? gate - (i == 0 ? gates[of].x : gates[of].y) : 0);
            x[i] = before >= 0 ? p.scale * decay * read[j][2 * half + i] : 0;
            y[i] = before > 0 ? beta * decay * erase[j][2 * half + i] : 0;
          }
          const PairSplit pair = splitPair(x[0], x[1]);
          high[of] = pair.high, low[of] = pair.low;
          float* const row = shared.inverse.matrix + t * BlockInverse::kRow + first + 8 * of;
          if (p.erase && j / 2 <= warp()) *reinterpret_cast<float2*>(row) = make_float2(y[0], y[1]);
        }
        const int column = 32 * four + lane() % 4 * kPiece;
        gather(high), gather(low);
        if (!is_lower(t, column)) continue;
        *reinterpret_cast<uint4*>(to.read + at(t, column)) = make_uint4(high[0], high[1], high[2], high[3]);
        *reinterpret_cast<uint4*>(to.read_low + at(t, column)) = make_uint4(low[0], low[1], low[2], low[3]);
      }
    }
    if (thread() >= kTokens) return;
    to.through[thread()] = exp2f(shared.gates[thread()]);
    to.rest[thread()] = exp2f(shared.gates[kTokens - 1] - shared.gates[thread()]);
    to.beta[thread()] = shared.beta[thread()], to.gates[thread()] = shared.gates[thread()];
  }

  // Four neighbouring lanes have two columns each of four blocks of eight; afterwards each has all of its block.
  static FW_DEVICE void gather(uint32_t (&x)[4]) {
    FW_UNROLL for (int mask = 1; mask < 4; mask *= 2) {
      const bool upper = lane() & mask;
      FW_UNROLL for (int of = 0; of < 4; of++) {
        if (of & mask) continue;
        const uint32_t theirs = toBits(shuffleXor(fromBits(upper ? x[of] : x[of | mask]), mask));
        (upper ? x[of] : x[of | mask]) = theirs;
      }
    }
  }

  // A thread has the same eight columns of every sixteenth row.
  static FW_DEVICE void put_solve(const Shared& shared, Direction direction, Scores& to) {
    const int column = thread() % 8 * kPiece;
    float4 beta[2] = {make_float4(1, 1, 1, 1), make_float4(1, 1, 1, 1)};
    if (direction == Direction::kOn) beta[0] = four_at(shared.beta + column), beta[1] = four_at(shared.beta + column + 4);
    for (int row = thread() / 8; row < kTokens; row += kThreads / 8) {
      if (!is_lower(row, column)) continue;
      PairSplit pairs[4];
      FW_UNROLL for (int i = 0; i < 2; i++) {
        const float4 x = four_at(shared.inverse.matrix + row * BlockInverse::kRow + column + 4 * i), b = beta[i];
        pairs[2 * i] = splitPair(x.x * b.x, x.y * b.y), pairs[2 * i + 1] = splitPair(x.z * b.z, x.w * b.w);
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
