// The operands of the backward pass in chunks: which tokens share a chunk, and their rows laid out and scaled by the
// gates. With b_i the sum of log gates up to token i of the chunk, and b' = b - b_middle:
//   read = Q' above E' = scale q e^b' and e e^b'       write = W' = w e^-b', above K' = k e^-b' for a second write
// What reads a state before its decay has the b' of the token before, which for the first one is b' - its gate.
// All gradients are those of q^T S dO, whichever of q and dO the read began with: where keys and values are exchanged,
// o = scale S q, dO stands in the place of q and q in that of dO.
// Only ratios matter between tokens of a chunk, hence b'. A chunk ends early where |b'| would exceed kLargestExponent;
// what its first gate does is part of no other b'.
#pragma once
#include "ahead.h"
#include "normalizer.h"
#include "rows.h"

FW_NAMESPACE_BEGIN

// The largest |b'|, whose factors and their products with one another are numbers.
constexpr float kLargestExponent = 60;

// No gate, one per token or one per token and key.
enum Gate { kUngated, kPerToken, kPerKey };

// What is kept of a chunk from the recomputation of the states to the gradients.
struct Kept {
  Rows write, written;  // whole chunks, filled up with zeros; those of the second write follow
  float *grow, *shrink;  // e^b' and e^-b', per token or per token and key; grow is preceded by that before token 0
  float *start, *end;    // e^b_middle and e^(b_last - b_middle), per key
};

template <Gate kGate>
class ChunkOperands {
 protected:
  static constexpr bool kGated = kGate != kUngated;

  ChunkOperands(const recurrenceBackwardArgs& args, const Problem& p, int64_t head)
      : args_(args), p_(p), x_(head_of(p, head)), h_(head), K_(round_up(p.K, kLanes)), V_(round_up(p.V, kLanes)),
        writes_(p.second_write ? 2 * kChunk : kChunk), reads_before_(p.read_before || p.undecayed) {
    const int64_t width = p.exchanged ? p.K : p.values;
    const TokenRows doutput{args.doutput + head * width, p.heads * width};
    left_ = p.exchanged ? doutput : x_.q, right_ = p.exchanged ? x_.q : doutput;
  }

  void lay_out_operands(Arena& arena) {
    read_ = rows_in(arena, 2 * kChunk, K_), doutput_ = rows_in(arena, 2 * kChunk, V_), beta_ = arena.floats(kChunk);
    parts_ = arena.floats(kChunk * kLanes), sums_ = arena.floats(kChunk);
    ones_ = arena.floats(K_);
    chunk_starts_ = reinterpret_cast<int64_t*>(arena.floats(2 * (args_.checkpointEvery + 1)));
  }

  Kept lay_out_kept(Arena& arena) const {
    Kept kept;
    kept.write = rows_in(arena, writes_, K_), kept.written = rows_in(arena, writes_, V_);
    const int64_t each = kGate == kPerKey ? K_ : 1, before = round_up(each, kLanes);
    kept.grow = kGated ? arena.floats(kChunk * each + before) + before : ones_;
    kept.shrink = kGated ? arena.floats(kChunk * each) : ones_;
    kept.start = kGated ? arena.floats(K_) : ones_, kept.end = kGated ? arena.floats(K_) : ones_;
    return kept;
  }
  int64_t kept_bytes() const {
    Arena arena(nullptr);
    lay_out_kept(arena);
    return arena.used;
  }
  Kept kept(int64_t c) const {
    Arena arena(kept_ + c * kept_bytes_);
    return lay_out_kept(arena);
  }
  int64_t start_of(int64_t c) const { return chunk_starts_[c]; }
  int64_t length_of(int64_t c) const { return chunk_starts_[c + 1] - chunk_starts_[c]; }

  // Where token t of the sequence stands in an array [tokens, heads, ...].
  int64_t place(int64_t t) const { return (begin_ + t) * p_.heads + h_; }

  static Vec factor(const float* factors, int64_t c, int64_t i, int64_t K) {
    if constexpr (kGate == kUngated) return splat(1);
    if constexpr (kGate == kPerToken) return splat(factors[c]);
    return load(factors + c * K + i);
  }

  Vec read_factor(const Kept& kept, int64_t c, int64_t i) const {
    return factor(kept.grow, p_.read_before ? c - 1 : c, i, K_);
  }
  Vec erase_factor(const Kept& kept, int64_t c, int64_t i) const {
    return factor(kept.grow, p_.undecayed ? c - 1 : c, i, K_);
  }

  // Whether token t all but clears the state. It begins a chunk: no chunk has room for more than the largest exponent,
  // and per key a dgate so much smaller than the terms that it is the difference of would not be exact enough.
  bool clears(int64_t t) const {
    if (kGate == kUngated) return false;
    const float* gate = x_.gate[begin_ + t];
    int64_t i = 0;
    while (i < p_.gate_width && gate[i] < (kGate == kPerKey ? kSmallestGate : -kLargestExponent)) i++;
    return i == p_.gate_width;
  }

  // Divides tokens [from, to) of the sequence into chunks.
  void plan(int64_t from, int64_t to) {
    chunks_ = 0;
    for (int64_t t = from, count; t < to; t += count) {
      count = least(kChunk, to - t);
      if (kGated) count = tokens_together(t, count);
      chunk_starts_[chunks_++] = t;
    }
    chunk_starts_[chunks_] = to;
  }

  void stage_gates(const Kept& kept, int64_t t, int64_t count) const {
    Vec b[kChunk];
    if constexpr (kGate == kPerToken) {
      const Vec start = vexp(exponents(t, count, 0, b));
      kept.grow[-1] = vexp_bounded(before_first(t, 0, b))[0];
      for (int64_t c = 0; c < count; c++) kept.grow[c] = b[c][0];
      for (int64_t c = count; c < kChunk; c++) kept.grow[c] = 0;
      for (int64_t c = 0; c < kChunk; c += kLanes) stage_factors(kept, c, load(kept.grow + c));
      const Vec end = splat(kept.grow[count - 1]);
      for (int64_t i = 0; i < K_; i += kLanes) store(kept.start + i, start), store(kept.end + i, end);
    } else {
      for (int64_t i = 0; i < K_; i += kLanes) {
        store(kept.start + i, vexp(exponents(t, count, i, b)));
        if (reads_before_) store(kept.grow - K_ + i, vexp_bounded(before_first(t, i, b)));
        for (int64_t c = 0; c < count; c++) stage_factors(kept, c * K_ + i, b[c]);
        store(kept.end + i, load(kept.grow + (count - 1) * K_ + i));
      }
    }
  }
  // W' and the written values, then K' and the values of the second write.
  void stage_write(const Kept& kept, int64_t t, int64_t count) const {
    for (int64_t row = 0; row < writes_; row++) {
      const int64_t c = row % kChunk, at = begin_ + t + c;
      float *write = kept.write[row], *written = kept.written[row];
      if (c >= count) {
        zero_row(write, K_), zero_row(written, V_);
        continue;
      }
      const bool second = row >= kChunk;
      stage_row(written, second ? x_.v[at] : args_.written + place(t + c) * p_.V, p_.V, V_);
      const float* w = second ? x_.k[at] : x_.write_key[at];
      for (int64_t i = 0; i < K_; i += kLanes) store(write + i, load_row(w, i, p_.K) * factor(kept.shrink, c, i, K_));
    }
  }

  // What is read of a chunk; `rows` is its number of tokens as a multiple of four, filled up with zeros.
  void stage_read(const Kept& kept, int64_t t, int64_t count, int64_t rows) {
    for (int64_t c = 0; c < rows; c++) {
      beta_[c] = c < count && p_.beta_width ? x_.beta[begin_ + t + c][0] : 1;
      if (c >= count) {
        for (int64_t row = c; row < 2 * rows; row += rows)
          zero_row(read_[row], K_), zero_row(doutput_[row], V_);
        continue;
      }
      if (p_.max) {
        stage_read_gradient(args_, p_, place(t + c), doutput_[c], V_);
      } else {
        stage_row(doutput_[c], right_[begin_ + t + c], p_.V, V_);
      }
      const float *q = left_[begin_ + t + c], *e = x_.erase_key[begin_ + t + c];
      for (int64_t i = 0; i < K_; i += kLanes) {
        store(read_[c] + i, load_row(q, i, p_.K) * splat(p_.scale) * read_factor(kept, c, i));
        if (p_.erase) store(read_[rows + c] + i, load_row(e, i, p_.K) * erase_factor(kept, c, i));
      }
    }
  }

  // What stage_gates and stage_write, or stage_read and the gradients, touch of tokens t .. t + count.
  void fetch_written(Ahead& ahead, int64_t t, int64_t count) const {
    ahead.add(x_.write_key[begin_ + t], x_.write_key.stride, count, p_.K);
    ahead.add(args_.written + place(t) * p_.V, p_.heads * p_.V, count, p_.V);
    if (kGated) ahead.add(x_.gate[begin_ + t], x_.gate.stride, count, p_.gate_width);
    if (!p_.second_write) return;
    ahead.add(x_.k[begin_ + t], x_.k.stride, count, p_.K);
    ahead.add(x_.v[begin_ + t], x_.v.stride, count, p_.V);
  }
  void fetch_read(Ahead& ahead, int64_t t, int64_t count) const {
    const int64_t row = p_.heads * p_.K, key = place(t) * p_.K;
    ahead.add(left_[begin_ + t], left_.stride, count, p_.K);
    if (p_.erase) ahead.add(x_.erase_key[begin_ + t], x_.erase_key.stride, count, p_.K);
    if (p_.beta_width) ahead.add(x_.beta[begin_ + t], x_.beta.stride, count, 1);
    ahead.add(right_[begin_ + t], right_.stride, count, p_.values);
    if (p_.max) ahead.add(args_.output + place(t) * p_.values, p_.heads * p_.values, count, p_.values);
    ahead.add(args_.dv + place(t) * p_.values, p_.heads * p_.values, count, p_.values);
    const int64_t width = p_.exchanged ? p_.V : p_.K;
    ahead.add(args_.dq + place(t) * width, p_.heads * width, count, width), ahead.add(args_.dk + key, row, count, p_.K);
    if (args_.dwriteKey.data) ahead.add(args_.dwriteKey + key, row, count, p_.K);
    if (args_.deraseKey.data) ahead.add(args_.deraseKey + key, row, count, p_.K);
    if (kGate == kPerKey) ahead.add(args_.dgate + key, row, count, p_.K);
  }

  const recurrenceBackwardArgs& args_;
  const Problem& p_;
  const Head x_;
  TokenRows left_, right_;  // of the state in what is read: q and dO
  const int64_t h_, K_, V_;  // K and V padded to whole vectors
  const int64_t writes_;     // rows of what a chunk writes
  const bool reads_before_;  // whether a state is read before its decay
  int64_t begin_, chunks_, *chunk_starts_;
  char* kept_;
  int64_t kept_bytes_;
  // Of the chunk at hand; dO lies above -dR where keys are erased, as Q' above E'.
  Rows read_, doutput_;
  float *beta_, *parts_, *sums_, *ones_;

 private:
  static void stage_factors(const Kept& kept, int64_t at, Vec b) {
    const Vec grow = vexp_bounded(b);
    store(kept.grow + at, grow), store(kept.shrink + at, splat(1) / grow);
  }

  Vec gate_of(int64_t t, int64_t i) const {
    const float* row = x_.gate[begin_ + t];
    return kGate == kPerKey ? load_row(row, i, p_.K) : splat(row[0]);
  }

  // The exponents b' of tokens t .. t + count for keys i ..., and b_middle.
  Vec exponents(int64_t t, int64_t count, int64_t i, Vec (&b)[kChunk]) const {
    Vec sum = b[0] = Vec{};
    for (int64_t c = 1; c < count; c++) b[c] = sum += gate_of(t + c, i);
    const Vec middle = b[count / 2];
    for (int64_t c = 0; c < count; c++) b[c] -= middle;
    return middle + gate_of(t, i);
  }
  // The b' of the state before them, from theirs.
  Vec before_first(int64_t t, int64_t i, const Vec (&b)[kChunk]) const {
    return reads_before_ ? b[0] - gate_of(t, i) : Vec{};
  }

  bool exponents_fit(int64_t t, int64_t count) const {
    const Vec limit = splat(kLargestExponent);
    Vec beyond{};
    for (int64_t i = 0; i < p_.gate_width; i += kLanes) {  // no |b'| can exceed the sum of all |gate|
      Vec size{};
      for (int64_t c = reads_before_ ? 0 : 1; c < count; c++) {
        const Vec gate = load_row(x_.gate[begin_ + t + c], i, p_.gate_width);
        size += vmax(gate, -gate);
      }
      beyond += select(size <= limit, Vec{}, splat(1));
    }
    if (sum(beyond) == 0) return true;
    beyond = Vec{};
    for (int64_t i = 0; i < p_.gate_width; i += kLanes) {
      Vec b[kChunk];
      exponents(t, count, i, b);
      const auto check = [&](Vec x) { beyond += select((x <= limit) & (x >= -limit), Vec{}, splat(1)); };
      for (int64_t c = 0; c < count; c++) check(b[c]);
      check(before_first(t, i, b));
    }
    return sum(beyond) == 0;
  }

  // How many tokens from t on share a chunk, at most `count`.
  int64_t tokens_together(int64_t t, int64_t count) const {
    for (int64_t c = 1; c < count; c++)
      if (clears(t + c)) count = c;
    while (count > 1 && !exponents_fit(t, count)) count = (count + 1) / 2;
    return count;
  }

  static constexpr float kSmallestGate = -2;
};

FW_NAMESPACE_END
