// What a chunk's keys and queries get of D and dR, and how it goes out.
#pragma once
#include "chunk_dgates.h"

FW_NAMESPACE_BEGIN

// What is read, and the scores of it with what the chunk wrote.
template <Gate kGate>
static void stage_scores(Ahead& ahead, const Pass& s, const Chunk& x) {
  stage_read<kGate>(s, x);
  if (x.anchors) stage_decayed(s, x);
  transpose(x.write_turned, x.write, s.writes, s.K);
  transpose(x.written_turned, x.written, s.writes, s.V);
  multiply<kTriangles>(ahead, stacked_rows(s, x), s.writes, triangles(s, x, x.scores),
                       times(x.read, x.write_turned, s.p.K));
}

// Of exchanged keys and values: Q' S + tril(Q' W'^T) N, made in columns, as which S lies in memory.
static void write_exchanged(Ahead& ahead, const Pass& s, const Chunk& x) {
  const Problem& p = s.p;
  transpose(x.read_turned, x.read, kChunk, s.K);
  transpose(x.scores_turned, x.scores, kChunk, kChunk);
  multiply<kStore>(ahead, s.V, kChunk, {x.output_turned}, times(x.state, x.read_turned, p.K),
                   times(x.written_turned, x.scores_turned, x.count));
  transpose(x.output, x.output_turned, s.V, kChunk);
  unstage_rows(s.args.dq + s.place(x.t) * p.V, p.heads * p.V, x.output.data, x.output.stride, x.count, p.V);
}

// [dq; de] and dw, still to be multiplied by their factors, and dgate per token.
template <Gate kGate>
static void make_gradients(Ahead& ahead, const Pass& s, const Chunk& x) {
  const Problem& p = s.p;
  const int64_t stack = stacked_rows(s, x);
  if (p.exchanged) write_exchanged(ahead, s, x);
  write_strengths(s, x);
  multiply<kTriangles>(ahead, stack, s.writes, triangles(s, x, x.dscores), times(x.doutput, x.written_turned, p.V));
  const auto of_state = times(x.doutput, x.state, p.V);
  const auto of_scores = times<kLower>(x.dscores, x.write, x.count, x.rows);
  if (kGate == kPerToken) {
    multiply<kStore>(ahead, stack, s.K, {x.dread}, of_state);
  } else {
    multiply<kStore>(ahead, stack, s.K, {x.dread}, of_state, of_scores);
  }
  if (p.second_write)
    multiply<kAdd>(ahead, stack, s.K, {x.dread, x.dread},
                   times<kLower>(second_columns(x.dscores), second_rows(x.write), x.count, x.rows));
  multiply<kStore>(ahead, s.K, s.writes, {x.dwrite_turned}, times(x.dstate, x.written_turned, p.V));
  if (kGate == kPerToken) {
    relate_dgates(s, x);
    multiply<kAdd>(ahead, stack, s.K, {x.dread, x.dread}, of_scores);
  }
  transpose(x.dwrite, x.dwrite_turned, s.K, s.writes);
  for (int64_t first = 0; first < s.writes; first += kChunk) {
    const Rows dwrite = x.dwrite.from(first), dscores = x.dscores.from(0, first);
    multiply<kAdd>(ahead, x.rows, s.K, {dwrite, dwrite}, transposed_times<kUpper>(dscores, x.read, x.count),
                   transposed_times<kUpper>(x.erased(dscores), x.erased(x.read), p.erase ? x.count : 0));
  }
}

// Keys i ... of token c, a whole vector of them or not; `dgate` [K] is that of the token after, and becomes its own.
template <Gate kGate, bool kWhole>
__attribute__((always_inline)) static inline void write_key_columns(const Pass& s, const Chunk& x, int64_t c, int64_t i,
                                                                    float* dgate) {
  const Problem& p = s.p;
  const recurrenceBackwardArgs& args = s.args;
  const bool own_erase = args.deraseKey.data, own_write = args.dwriteKey.data;
  const int64_t to = s.place(x.t + c) * p.K;
  const auto put = [&](float* rows, Vec y) {
    return kWhole ? store(rows + to + i, y) : store_row(rows + to, i, p.K, y);
  };
  const Vec dread = load(x.dread[c] + i), dwrite = load(x.dwrite[c] + i);
  const Vec derase = p.erase ? load(x.erased(x.dread)[c] + i) : Vec{};
  const Vec dsecond = p.second_write ? load(second_rows(x.dwrite)[c] + i) : Vec{};
  if (kGate == kPerKey) {
    Vec sum = load(dgate + i);
    const auto add_read = [&] { sum = fma(load(x.read[c] + i), dread, sum); };
    const auto add_erase = [&] { sum = fma(load(x.erased(x.read)[c] + i), derase, sum); };
    if (!p.read_before) add_read();
    if (p.erase && !p.undecayed) add_erase();
    sum -= load(x.write[c] + i) * dwrite;
    if (p.second_write) sum -= load(second_rows(x.write)[c] + i) * dsecond;
    put(args.dgate, sum);
    if (p.read_before) add_read();
    if (p.erase && p.undecayed) add_erase();
    store(dgate + i, sum);
  }
  const Vec shrink = factor<kGate>(s, x.shrink, c, i);
  const Vec erase = derase * erase_factor<kGate>(s, x, c, i), write = dwrite * shrink;
  Vec key = own_erase ? (own_write ? Vec{} : write) : own_write ? erase : erase + write;
  if (p.second_write) key = fma(dsecond, shrink, key);
  if (!p.exchanged) put(args.dq, dread * read_factor<kGate>(s, x, c, i) * splat(p.scale));
  put(args.dk, key);
  if (own_erase) put(args.deraseKey, erase);
  if (own_write) put(args.dwriteKey, write);
}

// o += scale (q . (bonus k)) v.
static void add_bonus(const Pass& s, const Chunk& x, float* dbonus) {
  const Problem& p = s.p;
  for (int64_t c = 0; c < x.count; c++) {
    const int64_t t = x.t + c, at = s.sequence.begin + t, key = s.place(t) * p.K, value = s.place(t) * p.V;
    const float *q = s.x.q[at], *k = s.x.k[at], *v = s.x.v[at], *doutput = x.doutput[c];
    const auto row = [&](const float* x, int64_t i) { return load_row(x, i, p.K); };
    const auto add = [&](float* to, int64_t i, int64_t n, Vec x) { store_row(to, i, n, load_row(to, i, n) + x); };
    Vec weights{}, products{};
    for (int64_t i = 0; i < p.K; i += kLanes) weights += row(q, i) * row(k, i) * row(s.x.bonus, i);
    for (int64_t i = 0; i < p.V; i += kLanes) products += load(doutput + i) * load_row(v, i, p.V);
    const Vec y = splat(sum(weights) * p.scale), dy = splat(sum(products) * p.scale);
    for (int64_t i = 0; i < p.V; i += kLanes) add(s.args.dv + value, i, p.V, y * load(doutput + i));
    for (int64_t i = 0; i < p.K; i += kLanes) {
      add(s.args.dq + key, i, p.K, dy * row(s.x.bonus, i) * row(k, i));
      add(s.args.dk + key, i, p.K, dy * row(s.x.bonus, i) * row(q, i));
      add(dbonus, i, p.K, dy * row(q, i) * row(k, i));
    }
  }
}

// Adds to S . D of a chunk that anchors, [K], what its first token reads before its decay: then it is the gradient of
// the gate for the token before, so far.
static void add_undecayed(const Pass& s, const Chunk& x, float* dgate) {
  undecayed_rows(s, x, [&](int64_t row) {
    for (int64_t i = 0; i < s.K; i += kLanes)
      store(dgate + i, fma(load(x.read[row] + i), load(x.dread[row] + i), load(dgate + i)));
  });
}

// dq, dk and their like, and dgates; `dgate` is that of the chunk after, [K] per key or in lanes yet to be summed, and
// becomes that of this one. A token at a time: the rows of tokens may all fall on the same sets of the first-level
// cache.
template <Gate kGate>
static void write_gradients(const Pass& s, const Chunk& x, float* dgate, float* dbonus) {
  const int64_t K = s.p.K;
  for (int64_t c = x.count - 1; c >= 0; c--) {
    int64_t i = 0;
    for (; i + kLanes <= K; i += kLanes) write_key_columns<kGate, true>(s, x, c, i, dgate);
    if (i < K) write_key_columns<kGate, false>(s, x, c, i, dgate);
  }
  if (kGate == kPerToken) write_dgates(s, x, dgate);
  if (x.anchors) {
    anchor(s, x.state, x.dmiddle, dgate);
    unstage_rows(s.args.dgate + s.place(x.t) * K, K, dgate, s.K, 1, K);
    add_undecayed(s, x, dgate);
  }
  if (s.x.bonus) add_bonus(s, x, dbonus);
}

FW_NAMESPACE_END
