// Scores of pairs of tokens within a chunk, which do not depend on the state. With b_t the sum of the log gates up to
// token t:
//   read(t, j) = sum_i left_ti e^(b_ti - b_ji) w_ji for j <= t          erase(t, j): with the erase key, for j < t
// and the same with k for a second write. A read before the update, and an erase from the undecayed state, stop one gate
// short of t. Every exponent is a sum of the gates between the two tokens, never a difference of longer sums.
//
// Scores of erases are kept to twice the digits of float32. With beta 2, keys that return and no decay, the solution for
// a chunk's written values multiplies an error in them by the square of its length, where a token loop would not.
#include "../exact.cuh"
#include "problem.cuh"

namespace fw::cuda {
namespace {

constexpr int kLaneKeys = kMostKeys / kWarp;  // keys of a lane

FW_DEVICE Sum warpSum(Sum x) {
  for (int mask = kWarp / 2; mask > 0; mask /= 2) {
    const Sum other = {shuffleXor(x.value, mask), shuffleXor(x.rest, mask)};
    x.add(other);
  }
  return x;
}

// first[n] = pieces that sequences before n have, [sequences + 1], as first_pieces counts them: a warp whose lanes count
// neighbouring sequences each.
struct FirstPieces {
  static constexpr int kThreads = kWarp;
  struct Args {
    const int32_t* offsets;
    int32_t* first;
    int64_t sequences;
    int size, whole, less;
  };
  struct Shared {};

  static FW_DEVICE int32_t pieces(const Args& args, int64_t n) {
    const int32_t length = args.offsets[n + 1] - args.offsets[n];
    return length > args.whole ? (length - 1) / args.size + 1 - args.less : 0;
  }

  static FW_DEVICE void run(const Args& args, Shared&) {
    const int64_t each = (args.sequences + kWarp - 1) / kWarp, begin = lane() * each;
    const int64_t end = begin + each < args.sequences ? begin + each : args.sequences;
    int32_t own = 0;
    for (int64_t n = begin; n < end; n++) own += pieces(args, n);
    int32_t through = own;  // of this lane and those before it
    for (int distance = 1; distance < kWarp; distance *= 2) {
      const float bits = fromBits(static_cast<uint32_t>(through));
      const uint32_t left = toBits(shuffle(bits, lane() >= distance ? lane() - distance : 0));
      if (lane() >= distance) through += static_cast<int32_t>(left);
    }
    int32_t before = through - own;
    for (int64_t n = begin; n < end; n++) {
      args.first[n] = before;
      before += pieces(args, n);
    }
    if (lane() == kWarp - 1) args.first[args.sequences] = through;
  }
};

// A block for each chunk and head; its warps take turns at the columns j.
struct Pairs {
  static constexpr int kThreads = 128;
  struct Args {
    Problem p;
    float* scores;
  };
  struct Shared {};

  static FW_DEVICE void run(const Args& args, Shared&) {
    const Problem& p = args.p;
    const int64_t h = p.firstHead + block() % p.groupHeads;
    const Chunk chunk = chunk_at(p, p.firstChunk + block() / p.groupHeads);
    float* const scores = args.scores + block() * kPairFloats;
    for (int j = warp(); j < kChunk; j += kThreads / kWarp) {
      column(p, chunk, h, j, scores);
      float weight = 0;
      if (p.bonus.data && j < chunk.count) {
        for (int i = lane(); i < p.K; i += kWarp) {
          weight += load(p.left, chunk.begin + j, h, p.heads, i) * load(p.k, chunk.begin + j, h, p.heads, i) *
                    load(p.bonus, h * p.K + i);
        }
      }
      weight = p.leftScale * cuda::warpSum(weight);
      if (lane() == 0) scores[kPairMatrices * kChunk * kChunk + j] = weight;
    }
  }

  static FW_DEVICE void column(const Problem& p, const Chunk& chunk, int64_t h, int j, float* scores) {
    float between[kLaneKeys] = {}, write[kLaneKeys], second[kLaneKeys];
    FW_UNROLL
    for (int c = 0; c < kLaneKeys; c++) {
      const int i = lane() + c * kWarp;
      const bool live = i < p.K && j < chunk.count;
      write[c] = live ? load(p.writeKey, chunk.begin + j, h, p.heads, i) : 0;
      second[c] = live && p.secondWrite ? load(p.k, chunk.begin + j, h, p.heads, i) : 0;
    }
    for (int t = 0; t < kChunk; t++) {
      Sum sums[kEraseLow];
      if (t >= j && t < chunk.count) {
        FW_UNROLL
        for (int c = 0; c < kLaneKeys; c++) {
          const int i = lane() + c * kWarp;
          if (i >= p.K) break;
          const int64_t token = chunk.begin + t;
          const float before = expf(between[c]);
          if (t > j) between[c] += gate_at(p, token, h, i);
          const float after = expf(between[c]);
          if (p.left.data) {
            const float left = load(p.left, token, h, p.heads, i) * p.leftScale * (p.readBefore ? before : after);
            sums[kRead].add_product(left, write[c]);
            sums[kReadSecond].add_product(left, second[c]);
          }
          if (p.erase) {
            const float erase = load(p.eraseKey, token, h, p.heads, i) * (p.undecayed ? before : after);
            sums[kErase].add_product(erase, write[c]);
            sums[kEraseSecond].add_product(erase, second[c]);
          }
        }
      }
      for (int m = 0; m < kEraseLow; m++) {
        const bool erases = m == kErase || m == kEraseSecond, seconds = m == kReadSecond || m == kEraseSecond;
        const bool given = (erases ? p.erase : p.left.data != nullptr) && (!seconds || p.secondWrite);
        const bool acts = t > j || (t == j && !erases && !p.readBefore);
        const Sum sum = given && acts ? warpSum(sums[m]) : Sum{};
        if (lane() > 0) continue;
        scores[(m * kChunk + t) * kChunk + j] = sum.value;
        if (m == kErase) scores[(kEraseLow * kChunk + t) * kChunk + j] = sum.rest;
      }
    }
  }
};

}  // namespace

Problem with_chunks(const Context& cx, Problem p, const InMaybe& offsets, int64_t tokens, int64_t every, int size) {
  p.tokens = tokens;
  p.every = static_cast<int>(every);
  if (!offsets.data) {
    p.chunks = p.groupChunks = p.sequences * ((tokens + size - 1) / size);
    return p;
  }
  p.offsets = offsets.ints();
  p.first_chunk = first_pieces(cx, p, size), p.first_checkpoint = first_pieces(cx, p, p.every);
  p.chunks = p.groupChunks = tokens / size + p.sequences;
  return p;
}

const int32_t* first_pieces(const Context& cx, const Problem& p, int size, int whole, int less) {
  int32_t* const pieces = cx.scratch_of<int32_t>(p.sequences + 1);
  launch<FirstPieces>(cx, 1, {p.offsets, pieces, p.sequences, size, whole, less});
  return pieces;
}

void pair_scores(const Context& cx, const Problem& p, float* scores) {
  launch<Pairs>(cx, p.groupChunks * p.groupHeads, {p, scores});
}

}  // namespace fw::cuda
