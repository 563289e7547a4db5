// One token of the recurrence for many states, in place. One pass over a state reads it for the erase and for the
// output at once, since S_t^T q = S_{t-1}^T (D q) + (w . q) r [+ (k . q) v]; a second pass, in cache, updates it.
#include "lanes.h"
#include "problem.h"

FW_NAMESPACE_BEGIN

enum Decay { kNoDecay, kScalarDecay, kVectorDecay };

// One head's token: rows of K numbers, and the products of what is read with what is written.
struct Token {
  const float *erase, *read, *write, *second, *decay;
  float erase_scale, read_scale, state_scale, read_write, read_second, beta;
  const float *v, *betas;  // betas is null unless beta is a vector
};

// Columns [0, NV * kLanes) of a state whose rows lie `stride` apart.
template <int NV, bool Erase, int Gate, bool Second>
static void step_block(const Token& token, int64_t K, float* state, int64_t stride, const float* v, const float* betas,
                       float* output) {
  Vec erased[NV] = {}, read[NV] = {};
#pragma GCC unroll 2
  for (int64_t i = 0; i < K; i++) {
    const Vec e = Erase ? splat(token.erase[i]) : Vec{}, q = splat(token.read[i]);
#pragma GCC unroll 4
    for (int n = 0; n < NV; n++) {
      const Vec s = load(state + i * stride + n * kLanes);
      if (Erase) erased[n] = fma(s, e, erased[n]);
      read[n] = fma(s, q, read[n]);
    }
  }
  Vec write[NV], value[NV];
#pragma GCC unroll 4
  for (int n = 0; n < NV; n++) {
    value[n] = load(v + n * kLanes);
    Vec error = Second ? Vec{} : value[n];
    if (Erase) error -= splat(token.erase_scale) * erased[n];
    write[n] = error * (betas ? load(betas + n * kLanes) : splat(token.beta));
    Vec y = fma(splat(token.read_write), write[n], splat(token.read_scale) * read[n]);
    y = fma(splat(token.read_second), value[n], y);
    store(output + n * kLanes, y);
  }
#pragma GCC unroll 2
  for (int64_t i = 0; i < K; i++) {
    const Vec w = splat(token.write[i]), k = Second ? splat(token.second[i]) : Vec{};
    const Vec d = Gate == kVectorDecay ? splat(token.decay[i]) : splat(token.state_scale);
#pragma GCC unroll 4
    for (int n = 0; n < NV; n++) {
      float* s = state + i * stride + n * kLanes;
      Vec x = load(s);
      if (Gate) x *= d;
      x = fma(write[n], w, x);
      if (Second) x = fma(value[n], k, x);
      store(s, x);
    }
  }
}

template <bool Erase, int Gate, bool Second>
static void step_state(const Context& cx, const Token& token, int64_t K, int64_t V, float* state, float* output) {
  int64_t j = 0;
  const auto betas = [&](int64_t at) { return token.betas ? token.betas + at : nullptr; };
  const auto block = [&](auto step, int vectors) {
    step(token, K, state + j, V, token.v + j, betas(j), output + j);
    j += vectors * kLanes;
  };
  while (j + 4 * kLanes <= V) block(step_block<4, Erase, Gate, Second>, 4);
  if (j + 2 * kLanes <= V) block(step_block<2, Erase, Gate, Second>, 2);
  if (j + kLanes <= V) block(step_block<1, Erase, Gate, Second>, 1);
  if (j == V) return;
  // The columns that fill no vector, through a padded copy.
  const int64_t width = V - j;
  float* columns = static_cast<float*>(cx.scratch(1, (K + 3) * kLanes * 4));
  float *v = columns + K * kLanes, *beta = v + kLanes, *y = beta + kLanes;
  stage_rows(columns, kLanes, state + j, V, K, width);
  stage_row(v, token.v + j, width, kLanes);
  if (token.betas) stage_row(beta, token.betas + j, width, kLanes);
  step_block<1, Erase, Gate, Second>(token, K, columns, kLanes, v, token.betas ? beta : nullptr, y);
  unstage_rows(state + j, V, columns, kLanes, K, width);
  store_row(output + j, 0, width, load(y));
}

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

static void step_head(const Context& cx, const Problem& p, const Head& x, int64_t t, float* state, float* output) {
  const int64_t K = p.K, rows = round_up(K, kLanes);
  const float *q = x.q[t], *k = x.k[t], *e = x.erase_key[t];
  const bool general = p.second_write || p.gate_width > 1;
  float *decay = nullptr, *read = nullptr, *erase = nullptr;
  if (general) {
    decay = static_cast<float*>(cx.scratch(0, 3 * rows * 4));
    read = decay + rows, erase = read + rows;
  }
  Token token;
  token.write = x.write_key[t], token.second = k, token.v = x.v[t];
  const float* beta = p.beta_width ? x.beta[t] : nullptr;
  token.beta = p.beta_width == 1 ? beta[0] : 1, token.betas = p.beta_width > 1 ? beta : nullptr;
  token.state_scale = stage_decay(p, x, t, decay);
  token.read_scale = p.scale * (p.read_before ? 1 : token.state_scale);
  token.erase_scale = p.undecayed ? 1 : token.state_scale;
  token.read = q, token.erase = e, token.decay = decay;
  if (general) {
    for (int64_t i = 0; i < rows; i += kLanes) {
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
  const int gate = p.gate_width == 0 ? kNoDecay : p.gate_width == 1 ? kScalarDecay : kVectorDecay;
  const auto step = p.second_write ? step_state<true, kVectorDecay, true>
                    : p.erase      ? (gate == kNoDecay       ? step_state<true, kNoDecay, false>
                                      : gate == kScalarDecay ? step_state<true, kScalarDecay, false>
                                                             : step_state<true, kVectorDecay, false>)
                                   : (gate == kNoDecay       ? step_state<false, kNoDecay, false>
                                      : gate == kScalarDecay ? step_state<false, kScalarDecay, false>
                                                             : step_state<false, kVectorDecay, false>);
  step(cx, token, K, p.V, state, output);
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

void recurrenceStep(const Context& cx, const recurrenceStepArgs& args) {
  constexpr int64_t kWorthAThread = 32 * 1024;  // numbers of state
  const Problem p = decode(args);
  const int64_t size = p.K * p.V, heads = p.sequences * p.heads;
  const int64_t grain = size > 0 ? (kWorthAThread + size - 1) / size : heads;
  parallel_blocks(cx, heads, grain > 0 ? grain : 1, [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; i++) {
      float *state = args.state + i * size, *output = args.output + i * (p.exchanged ? p.K : p.V);
      (p.exchanged ? step_exchanged : step_head)(cx, p, head_of(p, i % p.heads), i / p.heads, state, output);
    }
  });
}

FW_NAMESPACE_END
