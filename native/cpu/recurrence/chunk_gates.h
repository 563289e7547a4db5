// What the gates do in the backward pass in chunks: which tokens share a chunk, and the factors of their rows. With b_i
// the sum of log gates up to token i, b' = b - b_middle, where b_middle is that of a token in the middle of the chunk:
// only ratios matter. A chunk ends early where |b'| would exceed kLargestExponent; what its first gate does is part of
// no other b'. As long as gates are weak, a chunk continues with the b_middle of the one before it, and the state
// between them needs no factor.
// What reads a state before its decay has the b' of the token before, which for the first one is b' - its gate.
#pragma once
#include "chunk.h"

FW_NAMESPACE_BEGIN

// The largest |b'|, whose factors and their products with one another are numbers.
constexpr float kLargestExponent = 60;

// Of token c, before which there may be one more, and keys i ...
template <Gate kGate>
FW_INLINE Vec factor(const Pass& s, const float* factors, int64_t c, int64_t i) {
  if constexpr (kGate == kUngated) return splat(1);
  if constexpr (kGate == kPerToken) return splat(factors[c]);
  return load(factors + c * s.K + i);
}
template <Gate kGate>
FW_INLINE Vec read_factor(const Pass& s, const Chunk& x, int64_t c, int64_t i) {
  return factor<kGate>(s, x.grow, s.p.read_before ? c - 1 : c, i);
}
template <Gate kGate>
FW_INLINE Vec erase_factor(const Pass& s, const Chunk& x, int64_t c, int64_t i) {
  return factor<kGate>(s, x.grow, s.p.undecayed ? c - 1 : c, i);
}

// Divides tokens into chunks and makes their factors.
template <Gate kGate>
class ChunkGates {
  static constexpr bool kGated = kGate != kUngated;

 public:
  ChunkGates(const Pass& s, Arena& arena) : s_(s) {
    sizes_ = arena.floats(s.K), reach_ = arena.floats(s.K), last_ = arena.floats(s.K);
    starts_ = reinterpret_cast<int64_t*>(arena.floats(2 * (s.args.checkpointEvery + 1)));
    continues_ = reinterpret_cast<bool*>(arena.floats(s.args.checkpointEvery));
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
      starts_[chunks_++] = t;
    }
    starts_[chunks_] = to;
  }
  int64_t chunks() const { return chunks_; }
  int64_t start_of(int64_t c) const { return starts_[c]; }
  int64_t length_of(int64_t c) const { return starts_[c + 1] - starts_[c]; }
  // Whether chunk c has the b_middle of the one before it.
  bool continues(int64_t c) const { return kGated && c < chunks_ && continues_[c]; }
  // Whether a gradient of gates per key starts anew before chunk c.
  bool anchors(int64_t c) const { return kGate == kPerKey && (c == 0 || clears(starts_[c])); }

  // Whether token t all but clears the state. It begins a chunk: no chunk has room for more than the largest exponent,
  // and per key a dgate so much smaller than the terms that it is the difference of would not be exact enough.
  bool clears(int64_t t) const {
    if (kGate == kUngated) return false;
    const float* gate = s_.x.gate[s_.sequence.begin + t];
    int64_t i = 0;
    while (i < s_.p.gate_width && gate[i] < (kGate == kPerKey ? kSmallestGate : -kLargestExponent)) i++;
    return i == s_.p.gate_width;
  }

  // The factors of chunk c, after those of the one before it.
  void stage(const Factors& factors, int64_t c) const {
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
      for (int64_t i = 0; i < s_.K; i += kLanes) store(factors.start + i, start), store(factors.end + i, end);
    } else {
      for (int64_t i = 0; i < s_.K; i += kLanes) {
        store(factors.start + i, exponents(i));
        if (s_.reads_before) store(factors.grow - s_.K + i, vexp_bounded(before_first(t, i, b)));
        for (int64_t c = 0; c < count; c++) stage_factors(factors, c * s_.K + i, b[c]);
        store(factors.end + i, load(factors.grow + (count - 1) * s_.K + i));
      }
    }
  }

 private:
  static void stage_factors(const Factors& factors, int64_t at, Vec b) {
    const Vec grow = vexp_bounded(b);
    store(factors.grow + at, grow), store(factors.shrink + at, splat(1) / grow);
  }

  Vec gate_of(int64_t t, int64_t i) const {
    const float* row = s_.x.gate[s_.sequence.begin + t];
    return kGate == kPerKey ? load_row(row, i, s_.p.K) : splat(row[0]);
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
    return s_.reads_before ? b[0] - gate_of(t, i) : Vec{};
  }

  template <class Exceeds>
  bool any_key(const Exceeds& exceeds) const {
    Vec beyond{};
    for (int64_t i = 0; i < s_.p.gate_width; i += kLanes) beyond += select(exceeds(i), splat(1), Vec{});
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
    for (int64_t i = 0; !near && i < s_.p.gate_width; i += kLanes) store(reach_ + i, load(sizes_ + i));
    return near;
  }

  static constexpr float kSmallestGate = -2;
  // The largest |b'| that may come of other chunks: as far as that, sums of gates round no more than within one.
  static constexpr float kNearExponent = 16;

  const Pass& s_;
  int64_t chunks_ = 0;
  int64_t* starts_;
  bool* continues_;
  // Per key, or one for all: how much b' may change in a chunk, how far it may have come, and that of the token before.
  float *sizes_, *reach_, *last_;
};

FW_NAMESPACE_END
