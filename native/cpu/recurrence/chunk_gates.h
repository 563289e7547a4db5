// What the gates do in the backward pass in chunks: which tokens share a chunk, and the factors of their rows. With b_i
// the sum of log gates up to token i, b' = b - b_middle, where b_middle is that of a token in the middle of the chunk:
// only ratios matter. A chunk ends early where |b'| would exceed kLargestExponent; what its first gate does is part of
// no other b'. As long as gates are weak, a chunk continues with the b_middle of the one before it, and the state
// between them needs no factor.
// What reads a state before its decay has the b' of the token before, which for the first one is b' - its gate.
#pragma once
#include "rows.h"

FW_NAMESPACE_BEGIN

// The largest |b'|, whose factors and their products with one another are numbers.
constexpr float kLargestExponent = 60;

// No gate, one per token or one per token and key.
enum Gate { kUngated, kPerToken, kPerKey };

// Of a chunk.
struct Factors {
  float *grow, *shrink;  // e^b' and e^-b', per token or per token and key; grow is preceded by that before token 0
  float *start, *end;    // e^b_middle and e^(b_last - b_middle), per key, where b_middle begins and where it ends
};

template <Gate kGate>
class ChunkGates {
 protected:
  static constexpr bool kGated = kGate != kUngated;

  ChunkGates(const recurrenceBackwardArgs& args, const Problem& p, int64_t head)
      : args_(args), p_(p), x_(head_of(p, head)), h_(head), K_(round_up(p.K, kLanes)), V_(round_up(p.V, kLanes)),
        reads_before_(p.read_before || p.undecayed) {}

  void lay_out_gates(Arena& arena) {
    ones_ = arena.floats(K_), sizes_ = arena.floats(K_), reach_ = arena.floats(K_), last_ = arena.floats(K_);
    chunk_starts_ = reinterpret_cast<int64_t*>(arena.floats(2 * (args_.checkpointEvery + 1)));
    continues_ = reinterpret_cast<bool*>(arena.floats(args_.checkpointEvery));
  }
  Factors lay_out_factors(Arena& arena) const {
    if (!kGated) return {ones_, ones_, ones_, ones_};
    const int64_t each = kGate == kPerKey ? K_ : 1, before = round_up(each, kLanes);
    float *grow = arena.floats(kChunk * each + before) + before, *shrink = arena.floats(kChunk * each);
    float *start = arena.floats(K_), *end = arena.floats(K_);
    return {grow, shrink, start, end};
  }

  // Divides tokens [from, to) of the sequence into chunks.
  void plan(int64_t from, int64_t to) {
    chunks_ = 0;
    for (int64_t t = from, count; t < to; t += count) {
      count = least(kChunk, to - t);
      if (kGated) {
        count = tokens_together(t, count);
        continues_[chunks_] = stay_near(t == from || clears(t));
      }
      chunk_starts_[chunks_++] = t;
    }
    chunk_starts_[chunks_] = to;
  }
  int64_t start_of(int64_t c) const { return chunk_starts_[c]; }
  int64_t length_of(int64_t c) const { return chunk_starts_[c + 1] - chunk_starts_[c]; }
  // Whether chunk c has the b_middle of the one before it.
  bool continues(int64_t c) const { return kGated && c < chunks_ && continues_[c]; }

  // Whether token t all but clears the state. It begins a chunk: no chunk has room for more than the largest exponent,
  // and per key a dgate so much smaller than the terms that it is the difference of would not be exact enough.
  bool clears(int64_t t) const {
    if (kGate == kUngated) return false;
    const float* gate = x_.gate[begin_ + t];
    int64_t i = 0;
    while (i < p_.gate_width && gate[i] < (kGate == kPerKey ? kSmallestGate : -kLargestExponent)) i++;
    return i == p_.gate_width;
  }

  // The factors of chunk c, after those of the one before it.
  void stage_gates(const Factors& factors, int64_t c) const {
    const int64_t t = start_of(c), count = length_of(c);
    Vec b[kChunk];
    const auto exponents = [&](int64_t i) {
      const Vec middle = continues(c) ? continued_exponents(t, count, i, b) : own_exponents(t, count, i, b);
      store(last_ + i, b[count - 1]);
      return vexp(middle);
    };
    if constexpr (kGate == kPerToken) {
      const Vec start = exponents(0);
      factors.grow[-1] = vexp_bounded(before_first(t, 0, b))[0];
      for (int64_t c = 0; c < count; c++) factors.grow[c] = b[c][0];
      for (int64_t c = count; c < kChunk; c++) factors.grow[c] = 0;
      for (int64_t c = 0; c < kChunk; c += kLanes) stage_factors(factors, c, load(factors.grow + c));
      const Vec end = splat(factors.grow[count - 1]);
      for (int64_t i = 0; i < K_; i += kLanes) store(factors.start + i, start), store(factors.end + i, end);
    } else {
      for (int64_t i = 0; i < K_; i += kLanes) {
        store(factors.start + i, exponents(i));
        if (reads_before_) store(factors.grow - K_ + i, vexp_bounded(before_first(t, i, b)));
        for (int64_t c = 0; c < count; c++) stage_factors(factors, c * K_ + i, b[c]);
        store(factors.end + i, load(factors.grow + (count - 1) * K_ + i));
      }
    }
  }

  // Of token c, before which there may be one more, and keys i ...
  Vec factor(const float* factors, int64_t c, int64_t i) const {
    if constexpr (kGate == kUngated) return splat(1);
    if constexpr (kGate == kPerToken) return splat(factors[c]);
    return load(factors + c * K_ + i);
  }

  const recurrenceBackwardArgs& args_;
  const Problem& p_;
  const Head x_;
  const int64_t h_, K_, V_;  // K and V padded to whole vectors
  const bool reads_before_;
  int64_t begin_, chunks_;  // the sequence's first token; chunks between two checkpoints
  float* ones_;

 private:
  static void stage_factors(const Factors& factors, int64_t at, Vec b) {
    const Vec grow = vexp_bounded(b);
    store(factors.grow + at, grow), store(factors.shrink + at, splat(1) / grow);
  }

  Vec gate_of(int64_t t, int64_t i) const {
    const float* row = x_.gate[begin_ + t];
    return kGate == kPerKey ? load_row(row, i, p_.K) : splat(row[0]);
  }

  // The exponents b' of tokens t .. t + count for keys i ..., and how much b_middle grew.
  Vec own_exponents(int64_t t, int64_t count, int64_t i, Vec (&b)[kChunk]) const {
    Vec sum = b[0] = Vec{};
    for (int64_t c = 1; c < count; c++) b[c] = sum += gate_of(t + c, i);
    const Vec middle = b[count / 2];
    for (int64_t c = 0; c < count; c++) b[c] -= middle;
    return middle + gate_of(t, i);
  }
  Vec continued_exponents(int64_t t, int64_t count, int64_t i, Vec (&b)[kChunk]) const {
    Vec sum = load(last_ + i);
    for (int64_t c = 0; c < count; c++) b[c] = sum += gate_of(t + c, i);
    return Vec{};
  }
  // The b' of the state before them, from theirs.
  Vec before_first(int64_t t, int64_t i, const Vec (&b)[kChunk]) const {
    return reads_before_ ? b[0] - gate_of(t, i) : Vec{};
  }

  template <class Exceeds>
  bool any_key(const Exceeds& exceeds) const {
    Vec beyond{};
    for (int64_t i = 0; i < p_.gate_width; i += kLanes) beyond += select(exceeds(i), splat(1), Vec{});
    return sum(beyond) != 0;
  }

  // No |b'| that these tokens share can exceed the sum of all |gate|, which stays in sizes_.
  bool exponents_fit(int64_t t, int64_t count) const {
    const Vec limit = splat(kLargestExponent);
    const auto may_exceed = [&](int64_t i) {
      Vec size{};
      for (int64_t c = 0; c < count; c++) size += size_of(gate_of(t + c, i));
      store(sizes_ + i, size);
      return ~(size <= limit);
    };
    const auto exceeds = [&](int64_t i) {
      Vec b[kChunk];
      own_exponents(t, count, i, b);
      VecInt fits = size_of(before_first(t, i, b)) <= limit;
      for (int64_t c = 0; c < count; c++) fits &= size_of(b[c]) <= limit;
      return ~fits;
    };
    return !any_key(may_exceed) || !any_key(exceeds);
  }

  // How many tokens from t on share a chunk, at most `count`.
  int64_t tokens_together(int64_t t, int64_t count) const {
    for (int64_t c = 1; c < count; c++)
      if (clears(t + c)) count = c;
    while (!exponents_fit(t, count) && count > 1) count = (count + 1) / 2;
    return count;
  }

  // Whether those tokens stay near the b_middle of the ones before; `anew` they begin with their own.
  bool stay_near(bool anew) const {
    const auto go_far = [&](int64_t i) {
      const Vec reach = load(reach_ + i) + load(sizes_ + i);
      store(reach_ + i, reach);
      return ~(reach <= splat(kNearExponent));
    };
    const bool near = !anew && !any_key(go_far);
    for (int64_t i = 0; !near && i < p_.gate_width; i += kLanes) store(reach_ + i, load(sizes_ + i));
    return near;
  }

  static constexpr float kSmallestGate = -2;
  // The largest |b'| that may come of other chunks: as far as that, sums of gates round no more than within one.
  static constexpr float kNearExponent = 16;

  int64_t* chunk_starts_;
  bool* continues_;
  // Per key, or one for all: how much b' may change in a chunk, how far it may have come, and that of the token before.
  float *sizes_, *reach_, *last_;
};

FW_NAMESPACE_END
