// The forward pass takes C tokens per sweep over the state. With P(j, c) = the decay after token j up to token c, all
// that a group of tokens 0 .. C-1 needs of the state S before it are the two products
//   S^T (P(-1, c) e_c)    S^T (P(-1, c) q_c)
// since what the group itself writes enters by the dot products e_c . P(j, c) w_j and q_c . P(j, c) w_j. (An erase from
// the undecayed state, and a read before the update, leave out the decay of token c.) Afterwards
//   S <- P(-1, C-1) S + sum_j (P(j, C-1) w_j) r_j^T.
// Every decay is a product of the tokens' own factors, never a ratio, so that no gate can overflow.
// A vector gate is multiplied into e, q and w here. A scalar gate is kept out of the sweep: the state is carried
// divided by its decay since the last rescaling, and the factors go into the numbers beside each token.
#pragma once
#include "lanes.h"
#include "problem.h"

FW_NAMESPACE_BEGIN

template <int C>
constexpr int kPairs = C*(C + 1) / 2;
// Place of the pair j <= c.
constexpr int pair(int c, int j) { return c * (c + 1) / 2 + j; }
enum PairKind { kReadWrite, kEraseWrite, kReadSecond, kEraseSecond };

struct Stage {
  int64_t K, capacity, pair_kinds;  // row length (padded), tokens, how many PairKinds are in use
  float *read, *erase, *write, *second;                 // [capacity, K]; erase may be write
  float* decay;                                         // [groups, K]
  float* products;                                      // the pairs' products before summing
  float* pairs;                                         // [groups, pair_kinds, kPairs]
  float *read_scale, *erase_scale, *write_scale, *beta;  // per token
  float* token_decay;                                   // per token, of a scalar gate
  float* nothing;                                       // a row of zeros
  int8_t* decays;                                       // per group: whether the sweep must multiply the state
};

template <int C>
static Stage lay_out_stage(Arena& arena, const Problem& p, int64_t capacity) {
  Stage s;
  const int64_t groups = capacity / C;
  const bool vector_gate = p.gate_width > 1;
  s.K = round_up(p.K, kLanes), s.capacity = capacity;
  // A rule that reads before it writes takes the general form, which looks at erase products in any case.
  s.pair_kinds = p.second_write ? 4 : p.bonus ? 3 : p.erase || p.read_before ? 2 : 1;
  s.read = arena.floats(capacity * s.K);
  s.write = arena.floats(capacity * s.K);
  s.erase = vector_gate || p.erase_key.data != p.write_key.data ? arena.floats(capacity * s.K) : s.write;
  s.second = p.second_write ? arena.floats(capacity * s.K) : nullptr;
  s.decay = arena.floats(groups * s.K);
  s.nothing = arena.floats(s.K);
  const int64_t pairs = round_up(groups * s.pair_kinds * kPairs<C>, kLanes);
  s.products = arena.floats(pairs * kLanes);
  s.pairs = arena.floats(pairs);
  const int64_t padded = round_up(capacity, kLanes);
  s.read_scale = arena.floats(padded), s.erase_scale = arena.floats(padded);
  s.write_scale = arena.floats(padded), s.beta = arena.floats(padded);
  s.token_decay = arena.floats(padded);
  s.decays = reinterpret_cast<int8_t*>(arena.floats(groups));
  return s;
}

// What stage_tokens must provide for: a plain rule reads after its update, erases (if at all) from the decayed state
// and writes once; a general one finds out at run time.
enum Form { kPlain, kPlainErase, kGeneral };

// Tokens t .. t + count of a head; a group that reaches beyond them is filled with tokens that do nothing.
template <int C, Form kForm, bool VectorGate>
static void stage_tokens(const Problem& p, const Head& x, Stage& s, int64_t t, int64_t count) {
  constexpr bool kAny = kForm == kGeneral;
  constexpr int kKinds = kAny ? 4 : kForm == kPlainErase ? 2 : 1;
  const int64_t groups = (count + C - 1) / C;
  const float* bonus = kAny ? x.bonus : nullptr;
  const bool erases = kAny ? p.erase : kForm == kPlainErase, own_erase = kForm != kPlain && s.erase != s.write;
  const bool second = kAny && s.second, read_before = kAny && p.read_before, undecayed = kAny && p.undecayed;
  for (int64_t g = 0; g < groups; g++) {
    const float *q[C], *e[C] = {}, *w[C], *k[C] = {}, *gate[C] = {};
    for (int c = 0; c < C; c++) {
      const int64_t at = t + g * C + c;
      const bool real = g * C + c < count;
      q[c] = real ? x.q[at] : s.nothing;
      w[c] = real ? x.write_key[at] : s.nothing;
      if (own_erase) e[c] = real && erases ? x.erase_key[at] : s.nothing;
      if (kAny) k[c] = real ? x.k[at] : s.nothing;
      if (VectorGate) gate[c] = real ? x.gate[at] : s.nothing;
    }
    Vec products[kKinds][kPairs<C>] = {};
    const auto stage = [&](int64_t i, auto get) __attribute__((always_inline)) {
      Vec read[C], erase[C], write[C], twice[C] = {}, decay[C];
      // The compiler must see loops of constant length to keep these arrays in registers.
#pragma GCC unroll 4
      for (int c = 0; c < C; c++) {
        read[c] = get(q[c]), write[c] = get(w[c]);
        erase[c] = own_erase ? get(e[c]) : erases ? write[c] : Vec{};
        if (second) twice[c] = get(k[c]);
        if (VectorGate) decay[c] = vexp(get(gate[c]));
        if (bonus) products[kKinds > 2 ? kReadSecond : 0][pair(c, c)] += read[c] * get(bonus) * get(k[c]);
      }
      // What token j writes, decayed on its way to each later token c.
#pragma GCC unroll 4
      for (int j = 0; j < C; j++) {
        if (!read_before) {
          products[kReadWrite][pair(j, j)] += read[j] * write[j];
          if (second) products[kKinds > 2 ? kReadSecond : 0][pair(j, j)] += read[j] * twice[j];
        }
#pragma GCC unroll 4
        for (int c = j + 1; c < C; c++) {
          const Vec before = write[j];
          if (VectorGate) write[j] *= decay[c];
          products[kReadWrite][pair(c, j)] += read[c] * (read_before ? before : write[j]);
          if (erases) products[kKinds > 1 ? kEraseWrite : 0][pair(c, j)] += erase[c] * (undecayed ? before : write[j]);
          if (!second) continue;
          const Vec before_twice = twice[j];
          if (VectorGate) twice[j] *= decay[c];
          products[kKinds > 2 ? kReadSecond : 0][pair(c, j)] += read[c] * (read_before ? before_twice : twice[j]);
          products[kKinds > 2 ? kEraseSecond : 0][pair(c, j)] += erase[c] * (undecayed ? before_twice : twice[j]);
        }
      }
      Vec since = splat(1);
#pragma GCC unroll 4
      for (int c = 0; c < C; c++) {
        const int64_t at = (g * C + c) * s.K + i;
        const Vec before = since;
        if (VectorGate) since *= decay[c];
        store(s.read + at, VectorGate ? read[c] * (read_before ? before : since) : read[c]);
        store(s.write + at, write[c]);
        if (own_erase) store(s.erase + at, VectorGate ? erase[c] * (undecayed ? before : since) : erase[c]);
        if (second) store(s.second + at, twice[c]);
      }
      if (VectorGate) store(s.decay + g * s.K + i, since);
    };
    int64_t i = 0;
    if (!kAny)
      for (; i + kLanes <= p.K; i += kLanes) stage(i, [i](const float* row) { return load(row + i); });
    for (; i < p.K; i += kLanes) stage(i, [i, &p](const float* row) { return load_row(row, i, p.K); });
    float* out = s.products + g * s.pair_kinds * kPairs<C> * kLanes;
#pragma GCC unroll 4
    for (int kind = 0; kind < kKinds; kind++)
      if (kind < s.pair_kinds)
#pragma GCC unroll 10
        for (int i = 0; i < kPairs<C>; i++) store(out + (kind * kPairs<C> + i) * kLanes, products[kind][i]);
  }
  const int64_t used = groups * s.pair_kinds * kPairs<C>, pairs = round_up(used, kLanes);
  for (int64_t i = used; i < pairs; i++) store(s.products + i * kLanes, Vec{});
  sum_vectors(s.pairs, s.products, pairs);
}

// The numbers beside each token: beta, the read's scale, and everything that a scalar gate does.
template <int C>
static void stage_scalars(const Problem& p, const Head& x, Stage& s, int64_t t, int64_t count) {
  // Within these bounds a state divided by its decay loses nothing.
  constexpr float kSmallest = 1e-12f, kLargest = 1e12f;
  const int64_t groups = (count + C - 1) / C;
  float* d = s.token_decay;
  const bool gated = p.gate_width == 1;
  if (gated) {
    const int64_t padded = round_up(groups * C, kLanes);
    for (int64_t c = 0; c < padded; c++) d[c] = c < count ? x.gate[t + c][0] : 0;
    for (int64_t c = 0; c < padded; c += kLanes) store(d + c, vexp(load(d + c)));
  }
  for (int64_t c = 0; c < count; c++) s.beta[c] = p.beta_width == 1 ? x.beta[t + c][0] : 1;
  float carried = 1;  // the state is `carried` times what the sweep holds
  for (int64_t g = 0; g < groups; g++) {
    float* pairs = s.pairs + g * s.pair_kinds * kPairs<C>;
    const float* decay = d + g * C;
    float since = carried;
    for (int c = 0; c < C; c++) {
      const float before = since;
      if (gated) since *= decay[c];
      s.read_scale[g * C + c] = p.scale * (p.read_before ? before : since);
      s.erase_scale[g * C + c] = !p.erase ? 0 : p.undecayed ? before : since;
      s.write_scale[g * C + c] = gated ? 1 / since : 1;
      float factor = 1, factor_before = 1;
      for (int j = c; j >= 0; j--) {
        const float read = p.scale * (p.read_before ? factor_before : factor);
        const float erase = p.undecayed ? factor_before : factor;
        pairs[kReadWrite * kPairs<C> + pair(c, j)] *= read;
        if (s.pair_kinds > kEraseWrite) pairs[kEraseWrite * kPairs<C> + pair(c, j)] *= erase;
        if (s.pair_kinds > kReadSecond) pairs[kReadSecond * kPairs<C> + pair(c, j)] *= read;
        if (s.pair_kinds > kEraseSecond) pairs[kEraseSecond * kPairs<C> + pair(c, j)] *= erase;
        if (gated) factor *= decay[j], factor_before = j == c ? 1 : factor_before * decay[j];
      }
    }
    s.decays[g] = p.gate_width > 1;
    carried = since;
    if (gated && !(since > kSmallest && since < kLargest)) {
      float after = 1;
      for (int c = C - 1; c >= 0; c--) s.write_scale[g * C + c] = after, after *= decay[c];
      for (int64_t i = 0; i < s.K; i++) s.decay[g * s.K + i] = since;
      s.decays[g] = 1;
      carried = 1;
    }
    if (g + 1 == groups && carried != 1) {
      // The block ends with the state itself.
      for (int c = 0; c < C; c++) s.write_scale[g * C + c] *= carried;
      for (int64_t i = 0; i < s.K; i++) s.decay[g * s.K + i] = carried;
      s.decays[g] = 1;
    }
  }
}

FW_NAMESPACE_END
