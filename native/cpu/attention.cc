// Causal softmax attention, in blocks of queries and keys: scores exist for one block at a time.
#include <math.h>
#include <string.h>

#include "gemm/product.h"
#include "sums.h"

FW_NAMESPACE_BEGIN

constexpr int64_t kQueries = 64, kKeys = 64;

FW_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
FW_INLINE int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

// One sequence: where its queries and keys begin, how many there are, and which keys a query sees.
struct Span {
  int64_t query, key, queries, keys, window;
  int64_t end(int64_t t) const { return t + keys - queries + 1; }
  int64_t begin(int64_t t) const { return window > 0 ? most(end(t) - window, 0) : 0; }
  // The first block of keys that queries from t on see.
  int64_t first_block(int64_t t) const { return begin(t) / kKeys * kKeys; }
};

template <class Args>
static Span span_of(const Args& x, int64_t sequence) {
  if (!x.offsets.data) return {sequence * x.tokens, sequence * x.keys, x.tokens, x.keys, x.window};
  const int64_t start = x.offsets.ints()[sequence], length = x.offsets.ints()[sequence + 1] - start;
  return {start, start, length, length, x.window};
}

// Which of a block of keys, from `key` on, each of a block of queries, from `query` on, sees.
struct Seen {
  Span span;
  int64_t query, key, queries, keys;
  int64_t from(int64_t i) const { return most(span.begin(query + i) - key, 0); }
  int64_t to(int64_t i) const { return least(span.end(query + i) - key, keys); }
  bool all() const { return from(queries - 1) == 0 && to(0) == keys; }
};

static bool finite(const Matrix& x, int64_t rows, int64_t width) {
  Vec zero{};
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < width; j += kLanes) zero += load_first(x.at(i, j), width - j) * Vec{};
  return sum(zero) == 0;
}

// c += w x, or w^T x, for weights w of [queries, keys] that are 0 where a query does not see a key; also where x holds NaN
// or infinities there, of which 0 times is NaN.
template <bool transposed>
static void weighted(const Matrix& w, const Matrix& x, const Matrix& c, const Seen& seen, int64_t width, float* packed) {
  const int64_t rows = transposed ? seen.keys : seen.queries, terms = transposed ? seen.queries : seen.keys;
  if (seen.all() || finite(x, terms, width)) {
    return product(transposed ? w.transposed() : w, x, c, rows, width, terms, 1.0f, false, packed);
  }
  for (int64_t i = 0; i < seen.queries; i++) {
    for (int64_t j = seen.from(i); j < seen.to(i); j++) {
      const Vec weight = splat(*w.at(i, j));
      const float* from = x.at(transposed ? i : j, 0);
      float* to = c.at(transposed ? j : i, 0);
      for (int64_t d = 0; d < width; d += kLanes)
        store_first(to + d, fma(weight, load_first(from + d, width - d), load_first(to + d, width - d)), width - d);
    }
  }
}

// A block of queries: of which sequence, and which is its first.
struct Block {
  int64_t sequence, t;
};

// The blocks of all sequences, those of later queries first: they see the most keys. Uses scratch memory 1.
static int64_t cut_queries(const Context& cx, const attentionArgs& x, Block** blocks) {
  const auto count_of = [&](int64_t s) { return (span_of(x, s).queries + kQueries - 1) / kQueries; };
  int64_t count = 0, most_blocks = 0;
  for (int64_t s = 0; s < x.sequences; s++) {
    count += count_of(s);
    most_blocks = most(most_blocks, count_of(s));
  }
  // ends[i]: blocks that come before block i of any sequence, and then where the next of those goes.
  const int64_t bytes = count * int64_t(sizeof(Block));
  char* memory = static_cast<char*>(cx.scratch(1, bytes + (most_blocks + 1) * int64_t(sizeof(int64_t))));
  *blocks = reinterpret_cast<Block*>(memory);
  int64_t* ends = reinterpret_cast<int64_t*>(memory + bytes);
  memset(ends, 0, (most_blocks + 1) * sizeof(int64_t));
  for (int64_t s = 0; s < x.sequences; s++)
    if (count_of(s) > 0) ends[count_of(s) - 1]++;
  // Sequences that end with block i or later have a block i.
  for (int64_t i = most_blocks - 1, with = 0, before = 0; i >= 0; i--) {
    with += ends[i];
    ends[i] = before;
    before += with;
  }
  for (int64_t s = 0; s < x.sequences; s++)
    for (int64_t i = 0; i < count_of(s); i++) (*blocks)[ends[i]++] = {s, i * kQueries};
  return count;
}

// The lanes from j on that are outside [from, to).
FW_INLINE VecInt hidden(int64_t j, int64_t from, int64_t to) {
  VecInt lanes{};
  if (j < from || j + kLanes > to)
    for (int64_t l = 0; l < kLanes; l++) lanes[l] = j + l < from || j + l >= to ? -1 : 0;
  return lanes;
}

// row[j] = exp(row[j] - shift) for from <= j < to, 0 elsewhere below width; the sum is returned.
FW_INLINE float exponentials(float* row, int64_t from, int64_t to, int64_t width, float shift) {
  Vec total{};
  for (int64_t j = 0; j < kKeys; j += kLanes) {
    Vec e = vexp(load(row + j) - splat(shift));
    if (j < from || j + kLanes > to)
      for (int64_t l = 0; l < kLanes; l++)
        if (j + l < from || j + l >= to) e[l] = 0;
    store(row + j, e);
    total += e;
    if (j + kLanes >= width) break;
  }
  return sum(total);
}

void attention(const Context& cx, const attentionArgs& x) {
  const int64_t heads = x.heads, keyHeads = x.keyHeads, K = x.keyDim, V = x.valueDim;
  Block* blocks;
  const int64_t count = cut_queries(cx, x, &blocks);
  parallel(cx, count * heads, [&](int64_t task) {
    const int64_t h = task % heads, kh = h * keyHeads / heads, t = blocks[task / heads].t;
    const Span span = span_of(x, blocks[task / heads].sequence);
    const int64_t queries = least(span.queries - t, kQueries);
    float* scores = static_cast<float*>(
        cx.scratch(0, (kQueries * (kKeys + V + 2) + kPanelFloats) * int64_t(sizeof(float))));
    float* packed = scores + kQueries * kKeys;
    float* sums = packed + kPanelFloats;
    float* tops = sums + kQueries;
    float* out = tops + kQueries;
    memset(out, 0, queries * V * sizeof(float));
    for (int64_t i = 0; i < queries; i++) {
      sums[i] = 0;
      tops[i] = -INFINITY;
    }
    const float* q = x.q + ((span.query + t) * heads + h) * K;
    for (int64_t s = span.first_block(t); s < span.end(t + queries - 1); s += kKeys) {
      const int64_t keys = least(span.keys - s, kKeys);
      const Seen seen{span, t, s, queries, keys};
      const float* k = x.k + ((span.key + s) * keyHeads + kh) * K;
      const float* v = x.v + ((span.key + s) * keyHeads + kh) * V;
      product(row_major(q, heads * K), row_major(k, keyHeads * K).transposed(), row_major(scores, kKeys), queries, keys, K,
              float(x.scale), true, packed);
      for (int64_t i = 0; i < queries; i++) {
        const int64_t from = seen.from(i), to = seen.to(i);
        float* row = scores + i * kKeys;
        if (from >= to) {
          memset(row, 0, keys * sizeof(float));
          continue;
        }
        const float top = largest(row + from, to - from);
        // Scores of -infinity alone weigh nothing yet.
        if (top == -INFINITY && tops[i] == -INFINITY) {
          sums[i] += exponentials(row, from, to, keys, 0);
          continue;
        }
        if (!(top <= tops[i])) {
          const float shrink = expf(tops[i] - top);
          for (int64_t j = 0; j < V; j += kLanes)
            store_first(out + i * V + j, load_first(out + i * V + j, V - j) * splat(shrink), V - j);
          sums[i] *= shrink;
          tops[i] = top;
        }
        sums[i] += exponentials(row, from, to, keys, tops[i]);
      }
      weighted<false>(row_major(scores, kKeys), row_major(v, keyHeads * V), row_major(out, V), seen, V, packed);
    }
    for (int64_t i = 0; i < queries; i++) {
      const int64_t row = (span.query + t + i) * heads + h;
      // A query that sees no key gets zeros, one that sees scores of -infinity only NaN.
      const bool sees = span.end(t + i) > 0;
      const Vec scale = splat(sums[i] != 0 || sees ? 1 / sums[i] : 0.0f);
      for (int64_t j = 0; j < V; j += kLanes)
        store_first(x.y + row * V + j, load_first(out + i * V + j, V - j) * scale, V - j);
      x.lse[row] = tops[i] + logf(sums[i]);
    }
  });
}

void attentionBackward(const Context& cx, const attentionBackwardArgs& x) {
  const int64_t heads = x.heads, keyHeads = x.keyHeads, K = x.keyDim, V = x.valueDim, group = heads / keyHeads;
  const float scale = float(x.scale);
  // A task owns one head of keys, so that its sums run in one order.
  parallel(cx, x.sequences * keyHeads, [&](int64_t task) {
    const int64_t kh = task % keyHeads;
    const Span span = span_of(x, task / keyHeads);
    float* scores = static_cast<float*>(
        cx.scratch(0, (2 * kQueries * kKeys + kQueries + kPanelFloats) * int64_t(sizeof(float))));
    float* dscores = scores + kQueries * kKeys;
    float* packed = dscores + kQueries * kKeys;
    float* deltas = packed + kPanelFloats;
    for (int64_t s = 0; s < span.keys; s++) {
      memset(x.dk + ((span.key + s) * keyHeads + kh) * K, 0, K * sizeof(float));
      memset(x.dv + ((span.key + s) * keyHeads + kh) * V, 0, V * sizeof(float));
    }
    for (int64_t h = kh * group; h < (kh + 1) * group; h++)
      for (int64_t t = 0; t < span.queries; t += kQueries) {
        const int64_t queries = least(span.queries - t, kQueries), first = (span.query + t) * heads + h;
        const Matrix q = row_major(x.q + first * K, heads * K), dq = row_major(x.dq + first * K, heads * K);
        const Matrix dy = row_major(x.dy + first * V, heads * V);
        for (int64_t i = 0; i < queries; i++) {
          const float *a = x.y + (first + i * heads) * V, *b = x.dy + (first + i * heads) * V;
          deltas[i] = float(sum_of(V, [&](int64_t j, int64_t left) {
            return load_first(a + j, left) * load_first(b + j, left);
          }));
          memset(dq.at(i, 0), 0, K * sizeof(float));
        }
        for (int64_t s = span.first_block(t); s < span.end(t + queries - 1); s += kKeys) {
          const int64_t keys = least(span.keys - s, kKeys), key = (span.key + s) * keyHeads + kh;
          const Matrix k = row_major(x.k + key * K, keyHeads * K), v = row_major(x.v + key * V, keyHeads * V);
          const Matrix p = row_major(scores, kKeys), dp = row_major(dscores, kKeys);
          const Seen seen{span, t, s, queries, keys};
          product(q, k.transposed(), p, queries, keys, K, scale, true, packed);
          product(dy, v.transposed(), dp, queries, keys, V, 1.0f, true, packed);
          for (int64_t i = 0; i < queries; i++) {
            const int64_t from = seen.from(i), to = seen.to(i);
            exponentials(p.at(i, 0), from, to, keys, x.lse[first + i * heads]);
            for (int64_t j = 0; j < keys; j += kLanes) {
              const Vec weight = load(p.at(i, j));
              const Vec slope = weight * (load(dp.at(i, j)) - splat(deltas[i])) * splat(scale);
              store(dp.at(i, j), select(hidden(j, from, to), Vec{}, slope));
            }
          }
          weighted<true>(p, dy, row_major(x.dv + key * V, keyHeads * V), seen, V, packed);
          weighted<false>(dp, k, dq, seen, K, packed);
          weighted<true>(dp, q, row_major(x.dk + key * K, keyHeads * K), seen, K, packed);
        }
      }
  });
}

FW_NAMESPACE_END
