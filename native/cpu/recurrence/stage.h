// The forward pass takes C tokens per sweep over the state. With P(j, c) = the decay after token j up to token c, all
// that a group of tokens 0 .. C-1 needs of the state S before it are the two products
//   S^T (P(-1, c) e_c)    S^T (P(-1, c) q_c)
// since what the group itself writes enters by the dot products e_c . P(j, c) w_j and q_c . P(j, c) w_j. (An erase from
// the undecayed state, and a read before the update, leave out the decay of token c.) Afterwards
//   S <- P(-1, C-1) S + sum_j (P(j, C-1) w_j) r_j^T.
// The sweep knows no gate: it holds the state divided by its decay since the last rescaling, row by row of the key
// dimension. A vector gate is multiplied into e, q and w; a scalar one goes into the numbers beside each token. Where
// that decay leaves a range in which nothing is lost, the sweep multiplies the state with it and starts again at 1: no
// gate can overflow. Decays within a group are products of the tokens' own factors, never ratios.
#pragma once
#include "../lanes.h"
#include "problem.h"

FW_NAMESPACE_BEGIN

// What stage_tokens must provide for: a plain rule reads after its update, erases (if at all) from the decayed state
// and writes once; one that writes twice (RWKV-7) erases from the undecayed state; a general one finds out at run time.
enum Form { kPlain, kPlainErase, kUndecayedTwice, kGeneral };

// What is known of a rule where its sweep is compiled.
template <int tokens, Form form, bool second, bool scaled, bool value_gate = false>
struct Rule {
  static constexpr int kTokens = tokens;  // per sweep
  static constexpr Form kForm = form;
  static constexpr bool kErase = form != kPlain;  // kGeneral: perhaps
  static constexpr bool kSecond = second;         // writes the value itself with a second key
  static constexpr bool kScaled = scaled;         // reads and writes have factors per token
  static constexpr bool kValueGate = value_gate;  // its gate runs over the values (sweep_gated.h)
};

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
  float *sums, *inverses;  // per token: what is read of a normaliser, and what it multiplies other reads with
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
  s.sums = p.max ? arena.floats(padded) : nullptr, s.inverses = p.max ? arena.floats(padded) : nullptr;
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

FW_NAMESPACE_END
