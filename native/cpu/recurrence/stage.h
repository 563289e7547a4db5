// The forward pass takes C tokens per sweep over the state. With P(j, c) = the decay after token j up to token c, all
// that a group of tokens 0 .. C-1 needs of the state S before it are the two products
//   S^T (P(-1, c) e_c)    S^T (P(-1, c) q_c)
// since what the group itself writes enters by the dot products e_c . P(j, c) w_j and q_c . P(j, c) w_j. (An erase from
// the undecayed state, and a read before the update, leave out the decay of token c.) Afterwards
//   S <- P(-1, C-1) S + sum_j (P(j, C-1) w_j) r_j^T.
// Every decay is a product of the tokens' own factors, never a ratio, so that no gate can overflow.
// The sweep knows no gate: it holds the state divided by its decay since the last rescaling, row by row of the key
// dimension. A vector gate is multiplied into e, q and w here; a scalar one goes into the numbers beside each token.
// Where that decay leaves a range in which nothing is lost, the sweep multiplies the state with it and starts at 1.
#pragma once
#include "lanes.h"
#include "problem.h"

FW_NAMESPACE_BEGIN

template <int C>
constexpr int kPairs = C*(C + 1) / 2;
// Place of the pair j <= c.
constexpr int pair(int c, int j) { return c * (c + 1) / 2 + j; }
enum PairKind { kReadWrite, kEraseWrite, kReadSecond, kEraseSecond };

// What a group writes enters the state in the sweep of the next one, so the last group of the stage before stays: its
// rows stand before those of the first token (`write`, `second`) and of the first group (`decay`, `decays`).
struct Stage {
  int64_t K, capacity, pair_kinds;  // row length (padded), tokens, how many PairKinds are in use
  float *read, *erase, *write, *second;                  // [capacity, K]; erase may be write
  float* decay;                                          // [groups, K]
  float* products;                                       // the pairs' products before summing
  float* pairs;                                          // [groups, pair_kinds, kPairs]
  float *read_scale, *erase_scale, *write_scale, *beta;  // per token
  float* token_decay;                                    // per token; of a vector gate [capacity, K]
  float* carried;                                        // [K]: the state is `carried` times what the sweep holds
  float* nothing;                                        // a row of zeros
  int8_t* decays;                                        // per group: whether the sweep must multiply the state
};

// Within these bounds a state divided by its decay loses nothing.
constexpr float kSmallest = 1e-12f, kLargest = 1e12f;

template <int C>
static Stage lay_out_stage(Arena& arena, const Problem& p, int64_t capacity) {
  Stage s;
  const int64_t groups = capacity / C;
  const bool vector_gate = p.gate_width > 1;
  s.K = round_up(p.K, kLanes), s.capacity = capacity;
  // A rule that reads before it writes takes the general form, which looks at erase products in any case.
  s.pair_kinds = p.second_write ? 4 : p.bonus ? 3 : p.erase || p.read_before ? 2 : 1;
  s.read = arena.floats(capacity * s.K);
  s.write = arena.floats((C + capacity) * s.K) + C * s.K;
  s.erase = vector_gate || p.erase_key.data != p.write_key.data ? arena.floats(capacity * s.K) : s.write;
  s.second = p.second_write ? arena.floats((C + capacity) * s.K) + C * s.K : nullptr;
  s.decay = arena.floats((1 + groups) * s.K) + s.K;
  s.carried = arena.floats(s.K);
  s.nothing = arena.floats(s.K);
  const int64_t pairs = round_up(groups * s.pair_kinds * kPairs<C>, kLanes);
  s.products = arena.floats(pairs * kLanes);
  s.pairs = arena.floats(pairs);
  const int64_t padded = round_up(capacity, kLanes);
  s.read_scale = arena.floats(padded), s.erase_scale = arena.floats(padded);
  s.write_scale = arena.floats(padded), s.beta = arena.floats(padded);
  s.token_decay = arena.floats(vector_gate ? capacity * s.K : padded);
  s.decays = reinterpret_cast<int8_t*>(arena.floats(1 + groups)) + 1;
  return s;
}

// Before the first stage, and after the state itself was formed: nothing is left to write.
template <int C>
static void start_stages(Stage& s) {
  zero_row(s.nothing, s.K);
  zero_row(s.write - C * s.K, C * s.K);
  if (s.second) zero_row(s.second - C * s.K, C * s.K);
  for (int64_t i = 0; i < s.K; i += kLanes) store(s.carried + i, splat(1));
  s.decays[-1] = 0;
}

// After a stage of `groups`: the last of them comes to stand before the next stage's first.
template <int C>
static void keep_last_group(Stage& s, int64_t groups) {
  const auto keep = [&](float* rows, int64_t n) {
    for (int64_t i = 0; i < n; i += kLanes) store(rows + i - n, load(rows + i + (groups - 1) * n));
  };
  keep(s.write, C * s.K);
  if (s.second) keep(s.second, C * s.K);
  s.decays[-1] = s.decays[groups - 1];
  if (s.decays[-1]) keep(s.decay, s.K);
}

// What stage_tokens must provide for: a plain rule reads after its update, erases (if at all) from the decayed state
// and writes once; a general one finds out at run time.
enum Form { kPlain, kPlainErase, kGeneral };

// The factors of a vector gate, e^gate; 1 for the tokens that fill the last group.
static void stage_decays(const Problem& p, const Head& x, Stage& s, int64_t t, int64_t count, int64_t padded) {
  for (int64_t c = 0; c < padded; c++) {
    float* decay = s.token_decay + c * s.K;
    const float* gate = c < count ? x.gate[t + c] : s.nothing;
    int64_t i = 0;
    for (; i + kLanes <= p.K; i += kLanes) store(decay + i, vexp(load(gate + i)));
    if (i < p.K) store(decay + i, vexp(load_part(gate + i, p.K - i)));
  }
}

// A group whose decay left the bounds: the sweep multiplies the state with it, and what the group writes is decayed to
// its end instead of divided by the decay up to it.
template <int C>
static void rescale_group(const Problem& p, const Head& x, Stage& s, int64_t t, int64_t count, int64_t g) {
  for (int64_t i = 0; i < s.K; i += kLanes) {
    Vec after = splat(1);
    for (int64_t c = g * C + C - 1; c >= g * C; c--) {
      const bool real = c < count;
      store(s.write + c * s.K + i, load_row(real ? x.write_key[t + c] : s.nothing, i, p.K) * after);
      if (s.second) store(s.second + c * s.K + i, load_row(real ? x.k[t + c] : s.nothing, i, p.K) * after);
      after *= load(s.token_decay + c * s.K + i);
    }
    store(s.decay + g * s.K + i, load(s.carried + i));
    store(s.carried + i, splat(1));
  }
  s.decays[g] = 1;
}

// Tokens t .. t + count of a head; a group that reaches beyond them is filled with tokens that do nothing.
template <int C, Form kForm, bool VectorGate>
static void stage_tokens(const Problem& p, const Head& x, Stage& s, int64_t t, int64_t count) {
  constexpr bool kAny = kForm == kGeneral;
  constexpr int kKinds = kAny ? 4 : kForm == kPlainErase ? 2 : 1;
  const int64_t groups = (count + C - 1) / C;
  const float* bonus = kAny ? x.bonus : nullptr;
  const bool erases = kAny ? p.erase : kForm == kPlainErase, own_erase = kForm != kPlain && s.erase != s.write;
  const bool second = kAny && s.second, read_before = kAny && p.read_before, undecayed = kAny && p.undecayed;
  const Vec scale = splat(p.scale);
  if (VectorGate) stage_decays(p, x, s, t, count, groups * C);
  for (int64_t g = 0; g < groups; g++) {
    const float *q[C], *e[C] = {}, *w[C], *k[C] = {};
    for (int c = 0; c < C; c++) {
      const int64_t at = t + g * C + c;
      const bool real = g * C + c < count;
      q[c] = real ? x.q[at] : s.nothing;
      w[c] = real ? x.write_key[at] : s.nothing;
      if (own_erase) e[c] = real && erases ? x.erase_key[at] : s.nothing;
      if (kAny) k[c] = real ? x.k[at] : s.nothing;
    }
    Vec products[kKinds][kPairs<C>] = {};
    VecInt kept = Vec{} == Vec{};
    const auto stage = [&](int64_t i, auto get) __attribute__((always_inline)) {
      Vec read[C], erase[C], write[C], twice[C] = {}, decay[C];
      each<C>([&](auto c) {
        read[c] = get(q[c]) * scale, write[c] = get(w[c]);
        erase[c] = own_erase ? get(e[c]) : erases ? write[c] : Vec{};
        if (second) twice[c] = get(k[c]);
        if (VectorGate) decay[c] = load(s.token_decay + (g * C + c) * s.K + i);
        if (bonus) products[kKinds > 2 ? kReadSecond : 0][pair(c, c)] += read[c] * get(bonus) * get(k[c]);
      });
      // What token j writes, decayed on its way to each later token c.
      each<C>([&](auto j) {
        if (!read_before) {
          products[kReadWrite][pair(j, j)] += read[j] * write[j];
          if (second) products[kKinds > 2 ? kReadSecond : 0][pair(j, j)] += read[j] * twice[j];
        }
        each<C>([&](auto c) {
          if constexpr (c > j) {
            const Vec before = write[j];
            if (VectorGate) write[j] *= decay[c];
            products[kReadWrite][pair(c, j)] += read[c] * (read_before ? before : write[j]);
            if (erases)
              products[kKinds > 1 ? kEraseWrite : 0][pair(c, j)] += erase[c] * (undecayed ? before : write[j]);
            if (!second) return;
            const Vec before_twice = twice[j];
            if (VectorGate) twice[j] *= decay[c];
            products[kKinds > 2 ? kReadSecond : 0][pair(c, j)] += read[c] * (read_before ? before_twice : twice[j]);
            products[kKinds > 2 ? kEraseSecond : 0][pair(c, j)] += erase[c] * (undecayed ? before_twice : twice[j]);
          }
        });
      });
      Vec since = VectorGate ? load(s.carried + i) : splat(1);
      each<C>([&](auto c) {
        const int64_t at = (g * C + c) * s.K + i;
        const Vec before = since;
        if (VectorGate) since *= decay[c];
        store(s.read + at, VectorGate ? read[c] * (read_before ? before : since) : read[c]);
        if (own_erase) store(s.erase + at, VectorGate ? erase[c] * (undecayed ? before : since) : erase[c]);
      });
      const Vec inverse = VectorGate ? splat(1) / since : splat(1);
      each<C>([&](auto c) {
        const int64_t at = (g * C + c) * s.K + i;
        store(s.write + at, VectorGate ? write[c] * inverse : write[c]);
        if (second) store(s.second + at, VectorGate ? twice[c] * inverse : twice[c]);
      });
      if (VectorGate) {
        store(s.carried + i, since);
        kept &= (since > splat(kSmallest)) & (since < splat(kLargest));
      }
    };
    int64_t i = 0;
    if (!kAny)
      for (; i + kLanes <= p.K; i += kLanes) stage(i, [i](const float* row) { return load(row + i); });
    for (; i < p.K; i += kLanes) stage(i, [i, &p](const float* row) { return load_row(row, i, p.K); });
    s.decays[g] = 0;
    if (VectorGate && !all(kept)) rescale_group<C>(p, x, s, t, count, g);
    float* out = s.products + g * s.pair_kinds * kPairs<C> * kLanes;
    each<kKinds>([&](auto kind) {
      if (kind < s.pair_kinds)
        each<kPairs<C>>([&](auto i) { store(out + (kind * kPairs<C> + i) * kLanes, products[kind][i]); });
    });
  }
  const int64_t used = groups * s.pair_kinds * kPairs<C>, pairs = round_up(used, kLanes);
  for (int64_t i = used; i < pairs; i++) store(s.products + i * kLanes, Vec{});
  sum_vectors(s.pairs, s.products, pairs);
}

// The numbers beside each token: beta, and everything that a scalar gate does.
template <int C>
static void stage_scalars(const Problem& p, const Head& x, Stage& s, int64_t t, int64_t count) {
  const int64_t groups = (count + C - 1) / C, padded = round_up(groups * C, kLanes);
  for (int64_t c = 0; c < count; c++) s.beta[c] = p.beta_width == 1 ? x.beta[t + c][0] : 1;
  if (p.gate_width != 1) {
    for (int64_t c = 0; c < padded; c += kLanes) {
      store(s.read_scale + c, splat(1));
      store(s.erase_scale + c, splat(p.erase ? 1 : 0));
      store(s.write_scale + c, splat(1));
    }
    return;
  }
  float* d = s.token_decay;
  for (int64_t c = 0; c < padded; c++) d[c] = c < count ? x.gate[t + c][0] : 0;
  for (int64_t c = 0; c < padded; c += kLanes) store(d + c, vexp(load(d + c)));
  float carried = s.carried[0];
  for (int64_t g = 0; g < groups; g++) {
    float* pairs = s.pairs + g * s.pair_kinds * kPairs<C>;
    const float* decay = d + g * C;
    float since = carried;
    for (int c = 0; c < C; c++) {
      const float before = since;
      since *= decay[c];
      s.read_scale[g * C + c] = p.read_before ? before : since;
      s.erase_scale[g * C + c] = !p.erase ? 0 : p.undecayed ? before : since;
      s.write_scale[g * C + c] = 1 / since;
      float factor = 1, factor_before = 1;
      for (int j = c; j >= 0; j--) {
        const float read = p.read_before ? factor_before : factor, erase = p.undecayed ? factor_before : factor;
        pairs[kReadWrite * kPairs<C> + pair(c, j)] *= read;
        if (s.pair_kinds > kEraseWrite) pairs[kEraseWrite * kPairs<C> + pair(c, j)] *= erase;
        if (s.pair_kinds > kReadSecond) pairs[kReadSecond * kPairs<C> + pair(c, j)] *= read;
        if (s.pair_kinds > kEraseSecond) pairs[kEraseSecond * kPairs<C> + pair(c, j)] *= erase;
        factor *= decay[j], factor_before = j == c ? 1 : factor_before * decay[j];
      }
    }
    carried = since;
    if (!(since > kSmallest && since < kLargest)) {
      float after = 1;
      for (int c = C - 1; c >= 0; c--) s.write_scale[g * C + c] = after, after *= decay[c];
      for (int64_t i = 0; i < s.K; i++) s.decay[g * s.K + i] = since;
      s.decays[g] = 1;
      carried = 1;
    }
  }
  for (int64_t i = 0; i < s.K; i += kLanes) store(s.carried + i, splat(carried));
}

FW_NAMESPACE_END
