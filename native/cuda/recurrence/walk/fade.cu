// The faded operands of all chunks, in parallel: a block for each chunk and head, whose warps have sixteen tokens each
// and so a half of the chunk two of them. Where every key fades by itself, pairs of tokens are scored in runs that
// double: of two runs that meet, the later one's tokens have what is left since their border, the earlier one's until
// there, and no factor is above 1. Eight tokens among themselves: triangles.cuh.
#include "faded.cuh"

#include "inverse.cuh"
#include "triangles.cuh"

namespace fw::cuda::walk {
namespace {

// Of two runs of eight tokens, and of sixteen, in the layout of a product of the tensor cores.
struct Scored {
  float eights[4] = {};  // rows g are reads, rows g + 8 erases
  float read[4] = {}, erase[4] = {};
};

template <int K>
struct Fade {
  static constexpr int kThreads = kTokens / 16 * kWarp, kRow = kHalf + 4;
  struct Args {
    Problem p;
    Faded<K>* faded;
    Direction direction;
  };
  // Of 64 keys.
  struct Runs {
    uint16_t keys[kSquare], keys_low[kSquare], queries[kSquare];
  };
  struct Matrices {
    BlockInverse erase;
    alignas(16) float read[kTokens * kRow];
  };
  struct alignas(128) Shared {
    union {
      Runs runs;
      Matrices matrices;
    };
    alignas(16) float decays[kTokens / 16][64];  // of all tokens of a warp
    alignas(16) float beta[kTokens];
  };
  struct Work {
    const Problem& p;
    OctetSource source;
    Faded<K>* halves;
  };

  static FW_DEVICE void run(const Args& args, Shared& shared) {
    const Problem& p = args.p;
    const Chunk chunk = chunk_at<kTokens>(p, p.firstChunk + block() / p.heads);
    if (chunk.count == 0) return;
    const int64_t h = block() % p.heads;
    const Work work = {p, octet_source(p, chunk, h, own_octet(), own_key()), args.faded + 2 * place_of(p, chunk, h)};
    if (p.erase && thread() < kTokens) {
      shared.beta[thread()] = thread() < chunk.count ? beta_at(p, chunk.begin + thread(), h, 0) : 0;
    }
    Triangles triangles;
    Scored scored;
    FW_ROLLED for (int column = 0; column < K; column += 64) {
      if (column > 0) barrier();  // all have used the runs before
      fade_keys(work, column, shared, triangles, scored);
    }
    barrier();
    put_scores(p, shared, triangles, scored);
    barrier();
    put_pairs(shared.matrices.read, kRow, 0, nullptr, 0, work.halves);
    if (!p.erase) return;
    shared.matrices.erase.invert_halves();
    const float* const beta = args.direction == Direction::kOn ? shared.beta : nullptr;
    put_pairs(shared.matrices.erase.matrix, BlockInverse::kRow, kHalf, beta, kHalf, work.halves);
    if (thread() < kTokens) work.halves[thread() / kHalf].beta[thread() % kHalf] = shared.beta[thread()];
  }

  static FW_DEVICE void fade_keys(const Work& work, int column, Shared& shared, Triangles& triangles, Scored& scored) {
    Octet x;
    x.load(work.source, work.p.gate, column);
    triangles.add(x);
    float own[4] = {1, 1, 1, 1}, beside[4];  // decays of the octet, and of the other one of the warp
    FW_UNROLL for (int r = 0; r < 8; r++)
      FW_UNROLL for (int i = 0; i < 4; i++) own[i] *= x.decay[r][i];
    FW_UNROLL for (int i = 0; i < 4; i++) beside[i] = shuffleXor(own[i], 16), own[i] *= beside[i];
    if (!is_later()) put_four(shared.decays[warp()] + own_key(), own);

    const float one[4] = {1, 1, 1, 1};
    put_run(shared.runs, x, is_later(), one);
    warpSync();
    multiply_eights(shared.runs, scored.eights);
    warpSync();
    const bool last = warp() % 2;
    float start[4];
    FW_UNROLL for (int i = 0; i < 4; i++) start[i] = is_later() == last ? beside[i] : 1;
    put_run(shared.runs, x, last, start);
    barrier();
    multiply_sixteens(shared.runs, scored.read, scored.erase);
    put_operands(work, column, shared, x, beside, own);
  }

  // The rows of the lane's octet, in the later of two runs or in the earlier: faded since the runs' border, which lies
  // `start` away from the octet, or until there.
  static FW_DEVICE void put_run(Runs& runs, const Octet& x, bool later, const float (&start)[4]) {
    float fading[8][4];
    x.each_rest(start, [&](int r, const float(&rest)[4]) {
      FW_UNROLL for (int i = 0; i < 4; i++) fading[r][i] = rest[i];
    });
    x.each_through(start, [&](int r, const float(&through)[4]) {
      FW_UNROLL for (int i = 0; i < 4; i++) fading[r][i] = later ? through[i] : fading[r][i];
    });
    FW_UNROLL for (int r = 0; r < 8; r++) {
      const int place = at(own_octet() + r, own_key());
      put_faded(runs.keys + place, runs.keys_low + place, x.key[r], fading[r]);
      if (later) put_faded(runs.queries + place, x.query[r], fading[r]);
    }
  }

  // Queries and keys of the warp's later eight tokens with keys of its earlier eight.
  static FW_DEVICE void multiply_eights(const Runs& x, float (&sums)[4]) {
    const int l = lane(), later = at(16 * warp() + 8 + l % 8, l / 16 * 8), earlier = at(16 * warp() + l % 8, l / 8 * 8);
    const uint16_t* const left = l / 8 % 2 ? x.keys : x.queries;
    FW_UNROLL for (int k = 0; k < 4; k += 2) {
      uint32_t high[4], low[4];
      loadMatrix(high, x.keys + moved(earlier, 0, 16 * k)), loadMatrix(low, x.keys_low + moved(earlier, 0, 16 * k));
      FW_UNROLL for (int i = 0; i < 2; i++) {
        const uint32_t right[2] = {high[2 * i], high[2 * i + 1]}, right_low[2] = {low[2 * i], low[2 * i + 1]};
        uint32_t a[4], a_low[4];
        loadMatrix(a, left + moved(later, 0, 16 * (k + i)));
        loadMatrix(a_low, x.keys_low + moved(later, 0, 16 * (k + i)));
        a_low[0] = a_low[2] = 0;  // queries have none
        mmaBfloat16(sums, a_low, right);
        mmaBfloat16(sums, a, right_low);
        mmaBfloat16(sums, a, right);
      }
    }
  }

  // Those of the later sixteen of two warps with eight of the earlier sixteen, each warp its own eight.
  static FW_DEVICE void multiply_sixteens(const Runs& x, float (&read)[4], float (&erase)[4]) {
    const int l = lane(), pair = warp() / 2 * kHalf, row = pair + warp() % 2 * 8;
    const int later = at(pair + 16 + l % 16, l / 16 * 8), earlier = at(row + l % 8, l / 8 * 8);
    FW_UNROLL for (int k = 0; k < 4; k += 2) {
      uint32_t high[4], low[4];
      loadMatrix(high, x.keys + moved(earlier, 0, 16 * k)), loadMatrix(low, x.keys_low + moved(earlier, 0, 16 * k));
      FW_UNROLL for (int i = 0; i < 2; i++) {
        const uint32_t right[2] = {high[2 * i], high[2 * i + 1]}, right_low[2] = {low[2 * i], low[2 * i + 1]};
        const int place = moved(later, 0, 16 * (k + i));
        uint32_t query[4], key[4], key_low[4];
        loadMatrix(query, x.queries + place), loadMatrix(key, x.keys + place), loadMatrix(key_low, x.keys_low + place);
        mmaBfloat16(read, query, right_low);
        mmaBfloat16(erase, key_low, right);
        mmaBfloat16(erase, key, right_low);
        mmaBfloat16(read, query, right);
        mmaBfloat16(erase, key, right);
      }
    }
  }

  // What the walk multiplies, faded over the whole half; `own` are the decays of the warp's tokens.
  static FW_DEVICE void put_operands(const Work& work, int column, const Shared& shared, const Octet& x,
                                     const float (&beside)[4], const float (&own)[4]) {
    const Problem& p = work.p;
    Faded<K>& to = work.halves[warp() / 2];
    const float4 others = four_at(shared.decays[warp() ^ 1] + own_key());
    const float other[4] = {others.x, others.y, others.z, others.w};
    const bool last = warp() % 2;
    float before[4], after[4], through[4];
    FW_UNROLL for (int i = 0; i < 4; i++) {
      before[i] = (is_later() ? beside[i] : 1) * (last ? other[i] : 1);
      after[i] = (is_later() ? 1 : beside[i]) * (last ? 1 : other[i]);
      through[i] = own[i] * other[i];
    }
    const int row = own_octet() % kHalf, key = column + own_key();
    if (row == 0) put_four(to.through + key, through);
    x.each_through(before, [&](int r, const float(&fading)[4]) {
      float scaled[4];
      FW_UNROLL for (int i = 0; i < 4; i++) scaled[i] = p.scale * fading[i];
      put_faded(to.queries + (row + r) * K + key, x.query[r], scaled);
      const int place = at(row + r, key);
      if (p.erase) put_faded(to.erase + place, to.erase + place + kLow, x.key[r], fading);
    });
    x.each_rest(after, [&](int r, const float(&fading)[4]) {
      const int place = at(row + r, key);
      if (p.erase) put_faded(to.write + place, to.write + place + kLow, x.key[r], fading);
      else put_faded(to.write + place, x.key[r], fading);
    });
  }

  static FW_DEVICE void put_four(float* to, const float (&x)[4]) {
    *reinterpret_cast<float4*>(to) = make_float4(x[0], x[1], x[2], x[3]);
  }

  static FW_DEVICE void put_scores(const Problem& p, Shared& shared, const Triangles& triangles, const Scored& scored) {
    Matrices& to = shared.matrices;
    const auto put = [&](bool erases, int t, int j, float sum) {
      if (!erases) to.read[t * kRow + j % kHalf] = p.scale * sum;
      else if (p.erase) to.erase.matrix[t * BlockInverse::kRow + j] = shared.beta[t] * sum;
    };
    triangles.each(put);
    const int pair = warp() / 2 * kHalf, row = lane() / 4, column = lane() % 4 * 2;
    FW_UNROLL for (int e = 0; e < 4; e++) {
      const int t = pair + 16 + row + e / 2 * 8, j = pair + warp() % 2 * 8 + column + e % 2;
      put(false, t, j, scored.read[e]), put(true, t, j, scored.erase[e]);
      put(e >= 2, 16 * warp() + 8 + row, 16 * warp() + column + e % 2, scored.eights[e]);
    }
  }

  // The lower triangles of both halves, those of the second `apart` columns further to the right, with columns
  // multiplied by `beta` if it is given, to the rows of `pairs` from `below` on; above them are zeros.
  static FW_DEVICE void put_pairs(const float* matrix, int stride, int apart, const float* beta, int below,
                                  Faded<K>* halves) {
    constexpr int kPerRow = kHalf / kPiece;
    for (int piece = thread(); piece < kTokens * kPerRow; piece += kThreads) {
      const int half = piece / kPerRow / kHalf, row = piece / kPerRow % kHalf, column = piece % kPerRow * kPiece;
      const float* const from = matrix + piece / kPerRow * stride + half * apart + column;
      PairSplit pairs[4];
      FW_UNROLL for (int i = 0; i < 4; i++) {
        float x[2];
        FW_UNROLL for (int e = 0; e < 2; e++) {
          const int j = 2 * i + e;
          x[e] = column + j > row ? 0 : beta ? beta[half * kHalf + column + j] * from[j] : from[j];
        }
        pairs[i] = splitPair(x[0], x[1]);
      }
      uint16_t* const to = halves[half].pairs;
      *reinterpret_cast<uint4*>(to + at(below + row, column)) =
          make_uint4(pairs[0].high, pairs[1].high, pairs[2].high, pairs[3].high);
      *reinterpret_cast<uint4*>(to + at(below + row, kHalf + column)) =
          make_uint4(pairs[0].low, pairs[1].low, pairs[2].low, pairs[3].low);
    }
  }
};

}  // namespace

template <int K>
void fade(const Context& cx, const Problem& p, Faded<K>* faded, Direction direction) {
  launch<Fade<K>>(cx, p.groupChunks * p.heads, {p, faded, direction});
}
template void fade<64>(const Context&, const Problem&, Faded<64>*, Direction);
template void fade<128>(const Context&, const Problem&, Faded<128>*, Direction);

}  // namespace fw::cuda::walk
