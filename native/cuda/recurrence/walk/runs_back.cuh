// Gradients of keys, queries and gates from products of the tensor cores whose rows are keys and whose columns are the
// tokens of a chunk: of the state before the chunk and the one after it, and of pairs of tokens in runs that double, as
// in fade.cu. In two runs that meet, with f what is left of a key since the border between them, or until there,
//   dq_t = scale f_t sum_j dRead_tj f_j k_j    dk_j = f_j sum_t (scale dRead_tj f_t q_t - beta_t dErase_tj f_t k_t)
//   dk_t = -beta_t f_t sum_j dErase_tj f_j k_j
// The chunk as a whole is a later run for the state before it, and an earlier one for the state after it. Faded rows of
// keys are left factors, sums of two numbers of bfloat16.
#pragma once
#include "fading.cuh"
#include "passing.cuh"
#include "score_gradients.cuh"

namespace fw::cuda::walk {

template <int K, bool kErases>
class RunsBack {
 public:
  using Strengths = StrengthSums<K / 16>;

  FW_DEVICE RunsBack(float scale, int tokens, const Fading<K>& fading, const ScoreGradients& scores,
                     Strengths& strengths)
      : scale(scale), tokens(tokens), fading(fading), scores(scores), strengths(strengths) {}

  // From tiles whose rows are tokens.
  FW_DEVICE void take(const uint16_t* keys, const uint16_t* queries) { key.take(keys), query.take(queries); }

  // dO S^T, P S^T and R dS^T, of all tokens; parts of S . dS, of the lane's keys.
  FW_DEVICE void add_states(const Rows& of_read, const Rows& of_erase, const Rows& of_write, const float (&across)[2]) {
    float before[2] = {1, 1}, after[2] = {1, 1};
    add_later(0, 0, of_read, of_erase, before);
    add_earlier(0, kOctets, of_write, after);
    FW_UNROLL for (int r = 0; r < 2; r++) passing.add(0, kOctets, r, before[r] * across[r]);
  }

  // Those of tokens with each other, but for octets among themselves.
  FW_DEVICE void add_pairs() {
    add_runs<4>(0);
    FW_UNROLL for (int pair = 0; pair < 2; pair++) add_runs<2>(4 * pair);
    FW_UNROLL for (int pair = 0; pair < 4; pair++) add_eights(2 * pair);
  }

  // Puts the gradients of queries, keys and gates in the place of sums, and what is removed to those of strengths.
  struct Gradients {
    Rows &dq, &dk, &dgate;
  };
  FW_DEVICE Gradients finish() {
    FW_UNROLL for (int octet = 0; octet < kOctets; octet++) {
      if (is_empty(octet)) continue;
      float removed[2] = {};
      FW_UNROLL for (int r = 0; r < 2; r++) {
        float later[2], earlier[2], dgate[2];
        FW_UNROLL for (int e = 0; e < 2; e++) {
          float &dread = read[octet][2 * r + e], &derase = erase[octet][2 * r + e], &dwrite = write[octet][2 * r + e];
          const float k = key(octet, r, e);
          dread *= scale;
          later[e] = query(octet, r, e) * dread, earlier[e] = k * dwrite;
          if constexpr (!kErases) continue;
          removed[e] = fmaf(k, derase, removed[e]);
          derase *= -beta(octet, e), dwrite += derase;
          later[e] = fmaf(k, derase, later[e]);
        }
        passing.sum_up(octet, r, later, earlier, dgate);
        FW_UNROLL for (int e = 0; e < 2; e++) erase[octet][2 * r + e] = dgate[e];
      }
      if constexpr (kErases) put_removed(octet, removed);
    }
    return {read, write, erase};
  }

 private:
  static constexpr int kOctets = kTokens / 8;
  const float scale;
  const int tokens;  // of the chunk
  const Fading<K>& fading;
  const ScoreGradients& scores;
  Strengths& strengths;
  // As later runs read and erase, before they are scaled or multiplied by strengths, and as earlier ones write.
  Rows read = {}, erase = {}, write = {};
  Passing passing;
  TurnedRows key, query;

  // Whether an octet may be left out: two together, for there are few predicates.
  FW_DEVICE bool is_empty(int octet) const { return octet / 2 * 16 >= tokens; }

  // Over an octet, and over those from `first` to `beyond`.
  FW_DEVICE float decay(int octet, int r) const { return fading.through.at(8 * octet + 7, own_row(r)); }
  FW_DEVICE float decay(int first, int beyond, int r) const {
    float product = 1;
    FW_UNROLL for (int octet = 0; octet < kOctets; octet++) {
      if (octet >= first && octet < beyond) product *= decay(octet, r);
    }
    return product;
  }
  FW_DEVICE float beta(int octet, int e) const { return strengths.beta[8 * octet + own_token() + e]; }

  // What n octets from `own` on have of a later run that begins with octet `first`; `before` are the decays over it
  // until there, and then until beyond them.
  template <int n>
  FW_DEVICE void add_later(int first, int own, const float (&of_read)[n][4], const float (&of_erase)[n][4],
                           float (&before)[2]) {
    FW_UNROLL for (int i = 0; i < n; i++) {
      const int octet = own + i;
      if (is_empty(octet)) continue;
      FW_UNROLL for (int r = 0; r < 2; r++) {
        float both = 0;
        FW_UNROLL for (int e = 0; e < 2; e++) {
          const float through = before[r] * fading.through.at_own(octet, r, e);
          const float dread = through * of_read[i][2 * r + e];
          read[octet][2 * r + e] += dread;
          both = fmaf(scale * query(octet, r, e), dread, both);
          if constexpr (!kErases) continue;
          const float derase = through * of_erase[i][2 * r + e];
          erase[octet][2 * r + e] += derase;
          both = fmaf(-beta(octet, e) * key(octet, r, e), derase, both);
        }
        passing.add(first, octet, r, both);
        before[r] *= decay(octet, r);
      }
    }
  }
  // Of an earlier run that ends before octet `border`; `after` are the decays over it from beyond them on, and then
  // from the first of them.
  template <int n>
  FW_DEVICE void add_earlier(int own, int border, const float (&of_write)[n][4], float (&after)[2]) {
    FW_UNROLL for (int i = n - 1; i >= 0; i--) {
      const int octet = own + i;
      if (is_empty(octet)) continue;
      FW_UNROLL for (int r = 0; r < 2; r++) {
        float both = 0;
        FW_UNROLL for (int e = 0; e < 2; e++) {
          const float dwrite = after[r] * fading.rest.at_own(octet, r, e) * of_write[i][2 * r + e];
          write[octet][2 * r + e] += dwrite;
          both = fmaf(key(octet, r, e), dwrite, both);
        }
        passing.add(octet + 1, border, r, both);
        after[r] *= decay(octet, r);
      }
    }
  }
  // Sums over the warp's keys.
  FW_DEVICE void put_removed(int octet, float (&parts)[2]) {
    FW_UNROLL for (int mask = 4; mask < kWarp; mask *= 2)
      FW_UNROLL for (int e = 0; e < 2; e++) parts[e] += shuffleXor(parts[e], mask);
    float* const to = strengths.removed[warp()] + 8 * octet + own_token();
    if (lane() < 4) to[0] = parts[0], to[1] = parts[1];
  }

  // A run of n octets from `first` on, and the one after it; two octets of sums at a time.
  template <int n>
  FW_DEVICE void add_runs(int first) {
    const int later = first + n;
    if (is_empty(later)) return;
    float before[2] = {1, 1}, after[2] = {1, 1};
    FW_UNROLL for (int octet = later; octet < later + n; octet += 2) {
      float of_read[2][4] = {}, of_erase[2][4] = {};
      FW_UNROLL for (int k = first / 2; k < later / 2; k++) {
        Factors keys;
        FW_UNROLL for (int half = 0; half < 2; half++) put_earlier(keys, half, 2 * k + half, later);
        multiply_rows(of_read, keys, scores.read, scores.read_low, octet, k);
        if constexpr (kErases) multiply_rows(of_erase, keys, scores.erase, scores.erase_low, octet, k);
      }
      add_later(later, octet, of_read, of_erase, before);
    }
    FW_UNROLL for (int octet = later - 2; octet >= first; octet -= 2) {
      float of_write[2][4] = {};
      FW_UNROLL for (int k = later / 2; k < later / 2 + n / 2; k++) {
        Factors rows;
        FW_UNROLL for (int half = 0; half < 2; half++) put_queries(rows, half, 2 * k + half, later);
        multiply_columns(of_write, rows, scores.read, scores.read_low, k, octet);
        if constexpr (!kErases) continue;
        FW_UNROLL for (int half = 0; half < 2; half++) put_keys(rows, half, 2 * k + half, later);
        multiply_columns(of_write, rows, scores.erase, scores.erase_low, k, octet);
      }
      add_earlier(octet, later, of_write, after);
    }
  }
  static FW_DEVICE void multiply_rows(float (&sums)[2][4], const Factors& a, const uint16_t* high, const uint16_t* low,
                                      int octet, int k) {
    Engine::rows(sums, a.high, low + 8 * octet * 64, k);
    Engine::rows(sums, a, high + 8 * octet * 64, k);
  }
  static FW_DEVICE void multiply_columns(float (&sums)[2][4], const Factors& a, const uint16_t* high, const uint16_t* low,
                                         int k, int octet) {
    Engine::columns(sums, a.high, low, k, 16, 8 * octet);
    Engine::columns(sums, a, high, k, 16, 8 * octet);
  }

  // Octet `first` and the one after it: the other halves of the factors are zeros.
  FW_DEVICE void add_eights(int first) {
    const int later = first + 1, matrix = lane() / 8;
    if (is_empty(later)) return;
    const uint16_t* const tile = matrix == 0   ? scores.read
                                 : matrix == 1 ? scores.read_low
                                 : matrix == 2 ? scores.erase
                                               : scores.erase_low;
    const uint16_t* const from = tile + at(8 * later + lane() % 8, 8 * first);
    float of_read[1][4] = {}, of_erase[1][4] = {}, of_write[1][4] = {}, before[2] = {1, 1}, after[2] = {1, 1};
    uint32_t right[4];
    Factors left;
    loadMatrix(right, from);
    put_earlier(left, 0, first, later);
    multiply_eight(of_read[0], left, right[0], right[1]);
    if constexpr (kErases) multiply_eight(of_erase[0], left, right[2], right[3]);
    add_later(later, later, of_read, of_erase, before);
    loadMatrixT(right, from);
    put_queries(left, 0, later, later);
    multiply_eight(of_write[0], left, right[0], right[1]);
    if constexpr (kErases) {
      put_keys(left, 0, later, later);
      multiply_eight(of_write[0], left, right[2], right[3]);
    }
    add_earlier(first, later, of_write, after);
  }
  static FW_DEVICE void multiply_eight(float (&sums)[4], const Factors& a, uint32_t high, uint32_t low) {
    const uint32_t left[4] = {a.high[0], a.high[1], 0, 0}, left_low[4] = {a.low[0], a.low[1], 0, 0};
    const uint32_t right[2] = {high, 0}, right_low[2] = {low, 0};
    mmaBfloat16(sums, left, right_low);
    mmaBfloat16(sums, left_low, right);
    mmaBfloat16(sums, left, right);
  }

  // Keys of an octet, faded until the border before octet `border`, as half of a left factor.
  FW_DEVICE void put_earlier(Factors& a, int half, int octet, int border) const {
    FW_UNROLL for (int r = 0; r < 2; r++) {
      const float after = decay(octet + 1, border, r);
      put_faded(a, half, key, octet, r, [&](int e) { return after * fading.rest.at_own(octet, r, e); });
    }
  }
  // Queries, or keys with what multiplies their erases, faded since the border before octet `first`.
  FW_DEVICE void put_queries(Factors& a, int half, int octet, int first) const {
    put_later(a, half, query, octet, first, [&](int) { return scale; });
  }
  FW_DEVICE void put_keys(Factors& a, int half, int octet, int first) const {
    put_later(a, half, key, octet, first, [&](int e) { return -beta(octet, e); });
  }
  template <class Weight>
  FW_DEVICE void put_later(Factors& a, int half, const TurnedRows& x, int octet, int first, const Weight& weight) const {
    FW_UNROLL for (int r = 0; r < 2; r++) {
      const float before = decay(first, octet, r);
      put_faded(a, half, x, octet, r, [&](int e) { return before * fading.through.at_own(octet, r, e) * weight(e); });
    }
  }
  template <class Fade>
  static FW_DEVICE void put_faded(Factors& a, int half, const TurnedRows& x, int octet, int r, const Fade& fade) {
    const PairSplit parts = splitPair(x(octet, r, 0) * fade(0), x(octet, r, 1) * fade(1));
    a.high[2 * half + r] = parts.high, a.low[2 * half + r] = parts.low;
  }
};

}  // namespace fw::cuda::walk
