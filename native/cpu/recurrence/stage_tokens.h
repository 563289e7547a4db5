// Fills a stage from the operands: the rows that the sweep reads, the dot products of the tokens of a group, and the
// numbers beside each token. Done once for all blocks of values.
#pragma once
#include "normalizer.h"
#include "stage.h"

FW_NAMESPACE_BEGIN

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

// What a rule asks of its stage. Of all forms but the general one the compiler knows it.
template <Form kForm>
struct Asked {
  static constexpr bool kAny = kForm == kGeneral, kTwice = kForm == kUndecayedTwice;
  // How many PairKinds there may be.
  static constexpr int kKinds = kAny || kTwice ? kEraseSecond + 1 : kForm == kPlainErase ? kEraseWrite + 1 : 1;
  const bool erases, own_erase;      // whether with a key that is not the one it writes with, or is scaled otherwise
  const bool second;                 // whether it writes values with a second key
  const bool undecayed;              // whether it erases from the state before its decay
  const bool read_before;            // whether it reads before the update, and so the state before its decay
  const float* const bonus;

  Asked(const Problem& p, const Head& x, const Stage& s)
      : erases(kAny ? p.erase : kForm != kPlain), own_erase(kForm != kPlain && s.erase != s.write),
        second(kTwice || (kAny && s.second)), undecayed(kTwice || (kAny && p.undecayed)),
        read_before(kAny && p.read_before), bonus(kAny ? x.bonus : nullptr) {}
};

template <PairKind kKind>
struct Kind {};

// The products of the pairs of a group, lane by lane; of kinds that a form cannot have nothing is kept.
template <int C, int kKinds>
struct PairProducts {
  Vec at[kKinds][kPairs<C>];
  __attribute__((always_inline)) PairProducts() {
    each<kKinds>([&](auto kind) { each<kPairs<C>>([&](auto i) { at[kind][i] = Vec{}; }); });
  }
  template <PairKind kKind>
  __attribute__((always_inline)) void add(Kind<kKind>, int c, int j, Vec x) {
    if constexpr (kKind < kKinds) at[kKind][pair(c, j)] += x;
  }
};

// Tokens t .. t + count of a head; a group that reaches beyond them is filled with tokens that do nothing.
template <int C, Form kForm, bool kVectorGate>
static void stage_tokens(const Problem& p, const Head& x, Stage& s, int64_t t, int64_t count) {
  const Asked<kForm> asked(p, x, s);
  constexpr int kKinds = Asked<kForm>::kKinds;
  const int64_t groups = (count + C - 1) / C;
  const Vec scale = splat(p.scale);
  if (kVectorGate) stage_decays(p, x, s, t, count, groups * C);
  for (int64_t g = 0; g < groups; g++) {
    const float *q[C], *e[C] = {}, *w[C], *k[C] = {};
    for (int c = 0; c < C; c++) {
      const int64_t at = t + g * C + c;
      const bool real = g * C + c < count;
      q[c] = real ? x.q[at] : s.nothing;
      w[c] = real ? x.write_key[at] : s.nothing;
      if (asked.own_erase) e[c] = real && asked.erases ? x.erase_key[at] : s.nothing;
      if (kKinds > kReadSecond) k[c] = real ? x.k[at] : s.nothing;
    }
    PairProducts<C, kKinds> products;
    VecInt kept = Vec{} == Vec{};
    const auto stage = [&](int64_t i, auto get) __attribute__((always_inline)) {
      Vec read[C], erase[C], write[C], second[C] = {}, decay[C];
      each<C>([&](auto c) {
        read[c] = get(q[c]) * scale, write[c] = get(w[c]);
        erase[c] = asked.own_erase ? get(e[c]) : asked.erases ? write[c] : Vec{};
        if (asked.second) second[c] = get(k[c]);
        if (kVectorGate) decay[c] = load(s.token_decay + (g * C + c) * s.K + i);
        if (asked.bonus) products.add(Kind<kReadSecond>(), c, c, read[c] * get(asked.bonus) * get(k[c]));
      });
      // What token j writes, decayed on its way to each later token c, which may meet it before its own decay.
      const auto meet = [&](auto c, auto j, Vec& written, auto reads, auto erases) __attribute__((always_inline)) {
        const Vec before = written;
        if (kVectorGate) written *= decay[c];
        products.add(reads, c, j, read[c] * (asked.read_before ? before : written));
        if (asked.erases) products.add(erases, c, j, erase[c] * (asked.undecayed ? before : written));
      };
      each<C>([&](auto j) {
        if (!asked.read_before) {
          products.add(Kind<kReadWrite>(), j, j, read[j] * write[j]);
          if (asked.second) products.add(Kind<kReadSecond>(), j, j, read[j] * second[j]);
        }
        each<C>([&](auto c) {
          if constexpr (c > j) {
            meet(c, j, write[j], Kind<kReadWrite>(), Kind<kEraseWrite>());
            if (asked.second) meet(c, j, second[j], Kind<kReadSecond>(), Kind<kEraseSecond>());
          }
        });
      });
      Vec since = kVectorGate ? load(s.carried + i) : splat(1);
      each<C>([&](auto c) {
        const int64_t at = (g * C + c) * s.K + i;
        const Vec before = since;
        if (kVectorGate) since *= decay[c];
        store(s.read + at, kVectorGate ? read[c] * (asked.read_before ? before : since) : read[c]);
        if (!asked.own_erase) return;
        store(s.erase + at, kVectorGate ? erase[c] * (asked.undecayed ? before : since) : erase[c]);
      });
      const Vec inverse = kVectorGate ? splat(1) / since : splat(1);
      each<C>([&](auto c) {
        const int64_t at = (g * C + c) * s.K + i;
        store(s.write + at, kVectorGate ? write[c] * inverse : write[c]);
        if (asked.second) store(s.second + at, kVectorGate ? second[c] * inverse : second[c]);
      });
      if (kVectorGate) {
        store(s.carried + i, since);
        kept &= (since > splat(kSmallest)) & (since < splat(kLargest));
      }
    };
    int64_t i = 0;
    if (kForm != kGeneral)
      for (; i + kLanes <= p.K; i += kLanes) stage(i, [i](const float* row) { return load(row + i); });
    for (; i < p.K; i += kLanes) stage(i, [i, &p](const float* row) { return load_row(row, i, p.K); });
    s.decays[g] = 0;
    if (kVectorGate && !all(kept)) rescale_group<C>(p, x, s, t, count, g);
    float* out = s.products + g * s.pair_kinds * kPairs<C> * kLanes;
    each<kKinds>([&](auto kind) {
      if (kind < s.pair_kinds)
        each<kPairs<C>>([&](auto i) { store(out + (kind * kPairs<C> + i) * kLanes, products.at[kind][i]); });
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

// With what the normaliser's state gives in s.sums: the other values of tokens t .. t + count are read divided.
template <int C>
static void divide_reads(const Problem& p, Stage& s, int64_t h, int64_t t, int64_t count) {
  const int64_t groups = (count + C - 1) / C, padded = round_up(groups * C, kLanes);
  for (int64_t c = 0; c < padded; c++) s.inverses[c] = c < count ? p.max[(t + c) * p.heads + h] : 0;
  for (int64_t c = 0; c < padded; c += kLanes) {
    const Vec inverse = splat(1) / divisors(load(s.sums + c), load(s.inverses + c), p.eps);
    store(s.inverses + c, inverse);
    store(s.read_scale + c, load(s.read_scale + c) * inverse);
  }
  float* pairs = s.pairs + kReadWrite * kPairs<C>;
  for (int64_t g = 0; g < groups; g++, pairs += s.pair_kinds * kPairs<C>)
    each<C>([&](auto c) { each<c + 1>([&](auto j) { pairs[pair(c, j)] *= s.inverses[g * C + c]; }); });
}

FW_NAMESPACE_END
