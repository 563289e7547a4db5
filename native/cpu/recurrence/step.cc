// One token of the recurrence for many states, in place. One pass over a state reads it for the erase and for the
// output at once, since S_t^T q = S_{t-1}^T (D q) + (w . q) r [+ (k . q) v]; a second pass, in cache, updates it.
#include "../lanes.h"
#include "problem.h"

FW_NAMESPACE_BEGIN

enum Decay { kNoDecay, kScalarDecay, kVectorDecay };

// One head's token: rows of K numbers, and the products of what is read with what is written.
struct Token {
  const float *erase, *read, *write, *second, *decay;
  float erase_scale, read_scale, state_scale, read_write, read_second, beta;
  const float *v, *betas;  // betas is null unless beta is a vector
};

// Reading keeps the multipliers busy and updating the stores, so a block of columns is updated beside the read of the
// next one, where the registers hold the sums of both.
constexpr bool kBeside = kLanes >= 8;
constexpr int kBlock = kLanes == 16 ? 2 : 4;  // vectors

// a b + c with the product rounded. With AVX2 the processors of Zen take half as long again for a multiply-add beside a
// store, while a sum has units of its own there.
FW_INLINE Vec product_plus(Vec a, Vec b, Vec c) {
  Vec product = a * b;
#if defined(__AVX2__) && !defined(__AVX512F__)
  asm("" : "+x"(product));  // or the compiler makes one of both
#endif
  return product + c;
}

// States of a call that stay in the second cache, in bytes; larger ones are prefetched a head ahead.
constexpr int64_t kCached = 1 << 20;

// NV vectors of columns of a state whose rows lie `stride` apart, read but not updated yet, and what the update takes
// of their token.
template <int NV>
struct Columns {
  float* state;
  int64_t stride;
  const float *write_key, *second_key, *decay;
  float scale;
  Vec write[NV], value[NV];
};

template <int NV, int Gate, bool Second>
FW_INLINE void update_row(const Columns<NV>& x, int64_t i) {
  const Vec w = splat(x.write_key[i]), k = Second ? splat(x.second_key[i]) : Vec{};
  const Vec d = Gate == kVectorDecay ? splat(x.decay[i]) : splat(x.scale);
#pragma GCC unroll 4
  for (int n = 0; n < NV; n++) {
    float* s = x.state + i * x.stride + n * kLanes;
    Vec y = load(s);
    if (Gate) y *= d;
    y = product_plus(x.write[n], w, y);
    if (Second) y = fma(x.value[n], k, y);
    store(s, y);
  }
}

template <int NV, int Gate, bool Second>
static void update(const Columns<NV>& columns, int64_t K) {
  const Columns<NV> x = columns;  // a copy that no store can change stays in registers
#pragma GCC unroll 2
  for (int64_t i = 0; i < K; i++) update_row<NV, Gate, Second>(x, i);
}

// Reads the columns of `state`, which are those of the token's values from `column` on, and writes their output. With
// Update, `columns` still waits and is updated meanwhile; then it becomes what was read. `ahead` is 0 or how far away
// the state to prefetch lies.
template <int NV, bool Erase, int Gate, bool Second, bool Update>
static void read(Columns<NV>& columns, const Token& token, float* state, int64_t stride, int64_t column, int64_t K,
                 float* output, int64_t ahead) {
  const Columns<NV> before = columns;
  const float *const erase_key = token.erase, *const read_key = token.read;
  Vec erased[NV] = {}, read[NV] = {};
#pragma GCC unroll 2
  for (int64_t i = 0; i < K; i++) {
    const float* row = state + i * stride;
    const Vec e = Erase ? splat(erase_key[i]) : Vec{}, q = splat(read_key[i]);
    if (ahead)
      for (int n = 0; n < NV; n++) __builtin_prefetch(row + ahead + n * kLanes, 1, 2);
#pragma GCC unroll 4
    for (int n = 0; n < NV; n++) {
      const Vec s = load(row + n * kLanes);
      if (Erase) erased[n] = fma(s, e, erased[n]);
      read[n] = fma(s, q, read[n]);
    }
    if (Update) update_row<NV, Gate, Second>(before, i);
  }
  columns.state = state, columns.stride = stride, columns.scale = token.state_scale;
  columns.write_key = token.write, columns.second_key = token.second, columns.decay = token.decay;
#pragma GCC unroll 4
  for (int n = 0; n < NV; n++) {
    const int64_t at = column + n * kLanes;
    const Vec value = load(token.v + at);
    Vec error = Second ? Vec{} : value;
    if (Erase) error -= splat(token.erase_scale) * erased[n];
    const Vec write = error * (token.betas ? load(token.betas + at) : splat(token.beta));
    const Vec y = fma(splat(token.read_write), write, splat(token.read_scale) * read[n]);
    store(output + at, fma(splat(token.read_second), value, y));
    columns.write[n] = write, columns.value[n] = value;
  }
}

// Walks the states of neighbouring heads in blocks of columns, the last of which may wait for its update.
template <bool Erase, int Gate, bool Second>
struct Walk {
  const Context& cx;
  int64_t K, V;
  Columns<kBlock> block;
  bool waiting;

  // The rows of the token must live until the next one or the end of the walk is done.
  void head(const Token& token, float* state, float* output, int64_t ahead) {
    int64_t j = 0;
    for (; j + kBlock * kLanes <= V; j += kBlock * kLanes) {
      if (kBeside && waiting) read<kBlock, Erase, Gate, Second, kBeside>(block, token, state + j, V, j, K, output, ahead);
      else read<kBlock, Erase, Gate, Second, false>(block, token, state + j, V, j, K, output, ahead);
      waiting = true;
      if (!kBeside) finish();
    }
    if (kBlock > 2 && j + 2 * kLanes <= V) j = alone<2>(token, state, j, output, ahead);
    if (j + kLanes <= V) j = alone<1>(token, state, j, output, ahead);
    if (j < V) last_columns(token, state, j, output);
  }

  void finish() {
    if (waiting) update<kBlock, Gate, Second>(block, K);
    waiting = false;
  }

 private:
  template <int NV>
  int64_t alone(const Token& token, float* state, int64_t j, float* output, int64_t ahead) {
    Columns<NV> x;
    read<NV, Erase, Gate, Second, false>(x, token, state + j, V, j, K, output, ahead);
    update<NV, Gate, Second>(x, K);
    return j + NV * kLanes;
  }

  // The columns that fill no vector, through a padded copy.
  void last_columns(Token token, float* state, int64_t j, float* output) {
    const int64_t width = V - j;
    float* columns = static_cast<float*>(cx.scratch(1, (K + 3) * kLanes * 4));
    float *v = columns + K * kLanes, *beta = v + kLanes, *y = beta + kLanes;
    stage_rows(columns, kLanes, state + j, V, K, width);
    stage_row(v, token.v + j, width, kLanes);
    if (token.betas) stage_row(beta, token.betas + j, width, kLanes);
    token.v = v, token.betas = token.betas ? beta : nullptr;
    Columns<1> x;
    read<1, Erase, Gate, Second, false>(x, token, columns, kLanes, 0, K, y, 0);
    update<1, Gate, Second>(x, K);
    unstage_rows(state + j, V, columns, kLanes, K, width);
    store_row(output + j, 0, width, load(y));
  }
};

static inline float dot(const float* a, const float* b, int64_t n) {
  Vec y{};
  for (int64_t i = 0; i < n; i += kLanes) y = fma(load_row(a, i, n), load_row(b, i, n), y);
  return sum(y);
}

// exp of a scalar gate, or of a vector gate into `row`.
static float stage_decay(const Problem& p, const Head& x, int64_t t, float* row) {
  if (p.gate_width == 0) return 1;
  const float* gate = x.gate[t];
  if (p.gate_width == 1) return vexp(splat(gate[0]))[0];
  for (int64_t i = 0; i < p.K; i += kLanes) store(row + i, vexp(load_row(gate, i, p.K)));
  return 1;
}

// `rows` has space for three rows of K numbers, which the token may point to.
static Token token_of(const Problem& p, const Head& x, int64_t t, float* rows) {
  const int64_t K = p.K, padded = round_up(K, kLanes);
  const float *q = x.q[t], *k = x.k[t], *e = x.erase_key[t];
  float *decay = rows, *read = decay + padded, *erase = read + padded;
  Token token;
  token.write = x.write_key[t], token.second = k, token.v = x.v[t];
  const float* beta = p.beta_width ? x.beta[t] : nullptr;
  token.beta = p.beta_width == 1 ? beta[0] : 1, token.betas = p.beta_width > 1 ? beta : nullptr;
  token.state_scale = stage_decay(p, x, t, decay);
  token.read_scale = p.scale * (p.read_before ? 1 : token.state_scale);
  token.erase_scale = p.undecayed ? 1 : token.state_scale;
  token.read = q, token.erase = e, token.decay = decay;
  if (p.second_write || p.gate_width > 1) {
    for (int64_t i = 0; i < padded; i += kLanes) {
      const Vec d = p.gate_width > 1 ? load(decay + i) : splat(1);
      store(read + i, load_row(q, i, K) * (p.read_before ? splat(1) : d));
      store(erase + i, p.erase ? load_row(e, i, K) * (p.undecayed ? splat(1) : d) : Vec{});
      store(decay + i, p.gate_width > 1 ? d : splat(token.state_scale));
    }
    token.read = read, token.erase = erase;
  }
  token.read_write = p.read_before ? 0 : p.scale * dot(q, token.write, K);
  token.read_second = p.second_write && !p.read_before ? p.scale * dot(q, k, K) : 0;
  if (x.bonus) {
    Vec y{};
    for (int64_t i = 0; i < K; i += kLanes)
      y = fma(load_row(q, i, K) * load_row(x.bonus, i, K), load_row(k, i, K), y);
    token.read_second += p.scale * sum(y);
  }
  return token;
}

// States [from, to) of all sequences and heads.
template <bool Erase, int Gate, bool Second>
static void step_states(const Context& cx, const Problem& p, int64_t from, int64_t to, float* states, float* output) {
  const int64_t size = p.K * p.V, row_space = 3 * round_up(p.K, kLanes);
  const bool cached = p.sequences * p.heads * size * 4 <= kCached;
  // Two tokens: a block may still wait for its update when the next head begins.
  float* rows = static_cast<float*>(cx.scratch(0, 2 * row_space * 4));
  Token tokens[2];
  Walk<Erase, Gate, Second> walk{cx, p.K, p.V, {}, false};
  for (int64_t i = from; i < to; i++) {
    tokens[i % 2] = token_of(p, head_of(p, i % p.heads), i / p.heads, rows + i % 2 * row_space);
    walk.head(tokens[i % 2], states + i * size, output + i * p.V, cached || i + 1 == to ? 0 : size);
  }
  walk.finish();
}

static void step_exchanged(const Context& cx, const Problem& p, const Head& x, int64_t t, float* state, float* output) {
  const int64_t K = p.K, V = p.V, columns = round_up(V, kLanes);
  float* decay = static_cast<float*>(cx.scratch(0, (round_up(K, kLanes) + columns) * 4));
  float* r = decay + round_up(K, kLanes);
  const float *q = x.q[t], *v = x.v[t], *e = x.erase_key[t];
  const float *w = x.write_key[t], *beta = p.beta_width ? x.beta[t] : nullptr;
  const float one_decay = stage_decay(p, x, t, decay);
  if (p.gate_width < 2)
    for (int64_t i = 0; i < K; i++) decay[i] = one_decay;
  for (int64_t j = 0; j < V; j += kLanes) {
    Vec a{};
    for (int64_t i = 0; p.erase && i < K; i++)
      a = fma(load_row(state + i * V, j, V), splat(p.undecayed ? e[i] : e[i] * decay[i]), a);
    const Vec b = p.beta_width == 0 ? splat(1) : p.beta_width == 1 ? splat(beta[0]) : load_row(beta, j, V);
    store(r + j, (load_row(v, j, V) - a) * b);
  }
  for (int64_t i = 0; i < K; i++) {
    Vec y{};
    for (int64_t j = 0; j < V; j += kLanes) {
      const Vec next = fma(load(r + j), splat(w[i]), load_row(state + i * V, j, V) * splat(decay[i]));
      store_row(state + i * V, j, V, next);
      y = fma(next, load_row(q, j, V), y);
    }
    output[i] = p.scale * sum(y);
  }
}

static void step_exchanged_states(const Context& cx, const Problem& p, int64_t from, int64_t to, float* states,
                                  float* output) {
  for (int64_t i = from; i < to; i++)
    step_exchanged(cx, p, head_of(p, i % p.heads), i / p.heads, states + i * p.K * p.V, output + i * p.K);
}

void recurrenceStep(const Context& cx, const recurrenceStepArgs& args) {
  constexpr int64_t kWorthAThread = 32 * 1024;  // numbers of state
  const Problem p = decode(args);
  const int gate = p.gate_width == 0 ? kNoDecay : p.gate_width == 1 ? kScalarDecay : kVectorDecay;
  const auto step = p.exchanged      ? step_exchanged_states
                    : p.second_write ? step_states<true, kVectorDecay, true>
                    : p.erase        ? (gate == kNoDecay       ? step_states<true, kNoDecay, false>
                                        : gate == kScalarDecay ? step_states<true, kScalarDecay, false>
                                                               : step_states<true, kVectorDecay, false>)
                                     : (gate == kNoDecay       ? step_states<false, kNoDecay, false>
                                        : gate == kScalarDecay ? step_states<false, kScalarDecay, false>
                                                               : step_states<false, kVectorDecay, false>);
  const int64_t size = p.K * p.V, heads = p.sequences * p.heads;
  // Long runs of heads, so that most are prefetched by the thread that needs them, but several for each thread.
  const int64_t least_run = size > 0 ? (kWorthAThread + size - 1) / size : heads;
  const int64_t share = heads / (4 * cx.threads), grain = share > least_run ? share : least_run;
  parallel_blocks(cx, heads, grain > 0 ? grain : 1,
                  [&](int64_t from, int64_t to) { step(cx, p, from, to, args.state, args.output); });
}

FW_NAMESPACE_END
