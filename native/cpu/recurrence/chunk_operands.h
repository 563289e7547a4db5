// The operands of the backward pass in chunks: which tokens share a chunk, and their rows laid out and scaled by the
// gates. With b_i the sum of log gates up to token i of the chunk, and b' = b - b_middle:
//   read = Q' above E' = scale q e^b' and e e^b'       read_state: the same with b in the place of b'
//   write = W' = w e^-b'                               write_state = w e^(b_C - b)
// Only ratios matter between tokens of a chunk, hence b'. A chunk ends early where |b'| would exceed kLargestExponent;
// what its first gate does is never part of b'.
#pragma once
#include "lanes.h"
#include "problem.h"

FW_NAMESPACE_BEGIN

constexpr int64_t kChunk = 16;

class ChunkOperands {
 protected:
  ChunkOperands(const recurrenceBackwardArgs& args, const Problem& p, int64_t head)
      : args_(args),
        p_(p),
        x_(head_of(p, head)),
        h_(head),
        K_(round_up(p.K, kLanes)),
        V_(round_up(p.V, kLanes)),
        gated_(p.gate_width > 0) {}

  void lay_out_operands(Arena& arena) {
    read_ = arena.floats(2 * kChunk * K_);
    read_state_ = gated_ ? arena.floats(2 * kChunk * K_) : read_;
    doutput_ = arena.floats(2 * kChunk * V_), beta_ = arena.floats(kChunk);
    parts_ = arena.floats(kChunk * kLanes), sums_ = arena.floats(kChunk);
    chunk_starts_ = reinterpret_cast<int64_t*>(arena.floats(2 * (args_.checkpointEvery + 1)));
  }

  int64_t kept_bytes() {
    Arena arena(nullptr);
    keep(arena);
    return arena.used;
  }

  // What belongs to chunk c is found at its place from here on.
  void select_chunk(int64_t c) {
    Arena arena(kept_ + c * kept_bytes_);
    keep(arena);
  }

  int64_t gate_rows() const { return p_.gate_width == 1 ? 1 : p_.K; }

  // The exponents b' of tokens t .. t + count for keys i ..., and b_middle.
  Vec exponents(int64_t t, int64_t count, int64_t i, Vec (&b)[kChunk]) const {
    const auto gate = [&](int64_t c) {
      const float* row = x_.gate[begin_ + t + c];
      return p_.gate_width == 1 ? splat(row[0]) : load_row(row, i, p_.K);
    };
    Vec sum = b[0] = Vec{};
    for (int64_t c = 1; c < count; c++) b[c] = sum += gate(c);
    const Vec middle = b[count / 2];
    for (int64_t c = 0; c < count; c++) b[c] -= middle;
    return middle + gate(0);
  }

  bool exponents_fit(int64_t t, int64_t count) const {
    const Vec limit = splat(kLargestExponent);
    Vec beyond{};
    for (int64_t i = 0; i < gate_rows(); i += kLanes) {
      Vec b[kChunk] = {};
      exponents(t, count, i, b);
      for (int64_t c = 0; c < count; c++) beyond += select((b[c] <= limit) & (b[c] >= -limit), Vec{}, splat(1));
    }
    return sum(beyond) == 0;
  }

  // How many tokens from t on share a chunk, at most `count`. Besides tokens whose exponents do not fit, one that all
  // but clears the state begins a chunk: its dgate is tiny, and no difference of larger numbers would be exact enough.
  int64_t tokens_together(int64_t t, int64_t count) {
    for (int64_t c = 0; c < count; c++) {
      const float* gate = x_.gate[begin_ + t + c];
      Vec strong{};
      for (int64_t i = 0; i < gate_rows(); i += kLanes)
        strong += select(load_row(gate, i, gate_rows()) < splat(kClearingGate), splat(1), Vec{});
      store(parts_ + c * kLanes, strong);
    }
    sum_vectors(sums_, parts_, kChunk);
    for (int64_t c = 1; c < count; c++)
      if (sums_[c] == static_cast<float>(gate_rows())) count = c;
    while (count > 1 && !exponents_fit(t, count)) count = (count + 1) / 2;
    return count;
  }

  // Divides tokens [from, to) of the sequence into chunks.
  void plan(int64_t from, int64_t to) {
    chunks_ = 0;
    for (int64_t t = from, count; t < to; t += count) {
      count = least(kChunk, to - t);
      if (gated_) count = tokens_together(t, count);
      chunk_starts_[chunks_++] = t;
    }
    chunk_starts_[chunks_] = to;
  }

  // grow = e^b', shrink = e^-b', start = e^b_middle, end = e^(b_C - b_middle), total = e^b_C.
  void stage_gates(int64_t t, int64_t count) {
    for (int64_t i = 0; i < K_; i += kLanes) {
      if (i > 0 && p_.gate_width == 1) {
        for (int64_t c = 0; c < count; c++)
          store(grow_ + c * K_ + i, load(grow_ + c * K_)), store(shrink_ + c * K_ + i, load(shrink_ + c * K_));
        store(start_ + i, load(start_)), store(end_ + i, load(end_)), store(total_ + i, load(total_));
        continue;
      }
      Vec b[kChunk] = {};
      const Vec start = vexp(exponents(t, count, i, b));
      for (int64_t c = 0; c < count; c++)
        store(grow_ + c * K_ + i, vexp(b[c])), store(shrink_ + c * K_ + i, vexp(-b[c]));
      const Vec end = load(grow_ + (count - 1) * K_ + i);
      store(start_ + i, start), store(end_ + i, end), store(total_ + i, start * end);
    }
  }

  // W' and W, and the written values; whole chunks, filled up with zeros.
  void stage_write(int64_t t, int64_t count) {
    for (int64_t c = 0; c < kChunk; c++) {
      float *write = write_ + c * K_, *state = write_state_ + c * K_, *written = written_ + c * V_;
      if (c >= count) {
        zero_row(write, K_), zero_row(state, K_), zero_row(written, V_);
        continue;
      }
      const float* w = x_.write_key[begin_ + t + c];
      stage_row(written, args_.written + ((begin_ + t + c) * p_.heads + h_) * p_.V, p_.V, V_);
      if (!gated_) {
        stage_row(write, w, p_.K, K_);
        continue;
      }
      for (int64_t i = 0; i < K_; i += kLanes) {
        const Vec x = load_row(w, i, p_.K) * load(shrink_ + c * K_ + i);
        store(write + i, x), store(state + i, x * load(end_ + i));
      }
    }
  }

  // One row of Q' and Q, or of E' and E.
  void stage_read(int64_t row, int64_t c, const float* x, float scale) {
    float *read = read_ + row * K_, *state = read_state_ + row * K_;
    if (!gated_) return stage_row(read, x, p_.K, K_, scale);
    for (int64_t i = 0; i < K_; i += kLanes) {
      const Vec y = load_row(x, i, p_.K) * splat(scale) * load(grow_ + c * K_ + i);
      store(read + i, y), store(state + i, y * load(start_ + i));
    }
  }

  // What is read of a chunk; `rows` is its number of tokens as a multiple of four, filled up with zeros.
  void stage_chunk(int64_t t, int64_t count, int64_t rows) {
    for (int64_t c = 0; c < rows; c++) {
      const int64_t at = begin_ + t + c;
      beta_[c] = c < count && p_.beta_width ? x_.beta[at][0] : 1;
      if (c < count) {
        stage_read(c, c, x_.q[at], p_.scale);
        if (p_.erase) stage_read(rows + c, c, x_.erase_key[at], 1);
        stage_row(doutput_ + c * V_, args_.doutput + (at * p_.heads + h_) * p_.V, p_.V, V_);
        const int64_t to = at * p_.heads + h_;
        prefetch_row(args_.dq + to * p_.K, p_.K), prefetch_row(args_.dk + to * p_.K, p_.K);
        prefetch_row(args_.dv + to * p_.V, p_.V);
        if (p_.gate_width > 1) prefetch_row(args_.dgate + to * p_.K, p_.K);
        if (t < kChunk) continue;
        prefetch_row(x_.q[at - kChunk], p_.K);
        prefetch_row(x_.write_key[at - kChunk], p_.K);
        prefetch_row(args_.doutput + ((at - kChunk) * p_.heads + h_) * p_.V, p_.V);
        prefetch_row(args_.written + ((at - kChunk) * p_.heads + h_) * p_.V, p_.V);
        continue;
      }
      for (int64_t row = c; row < 2 * rows; row += rows) {
        zero_row(read_ + row * K_, K_), zero_row(read_state_ + row * K_, K_);
        zero_row(doutput_ + row * V_, V_);
      }
    }
  }

  static constexpr float kLargestExponent = 60;
  static constexpr float kClearingGate = -6;

  const recurrenceBackwardArgs& args_;
  const Problem& p_;
  const Head x_;
  const int64_t h_, K_, V_;  // K and V padded to whole vectors
  const bool gated_;
  int64_t begin_, chunks_, *chunk_starts_;
  // Kept for each chunk from the recomputation of the states to the gradients.
  char* kept_;
  int64_t kept_bytes_;
  float *write_, *write_state_, *written_, *grow_, *shrink_, *start_, *end_, *total_;
  // Of the chunk at hand; dO lies above -dR where keys are erased, as Q' above E'.
  float *read_, *read_state_, *doutput_, *beta_;
  float *parts_, *sums_;

 private:
  void keep(Arena& arena) {
    write_ = arena.floats(kChunk * K_), written_ = arena.floats(kChunk * V_);
    write_state_ = write_;
    if (!gated_) return;
    write_state_ = arena.floats(kChunk * K_), grow_ = arena.floats(kChunk * K_), shrink_ = arena.floats(kChunk * K_);
    start_ = arena.floats(K_), end_ = arena.floats(K_), total_ = arena.floats(K_);
  }
};

FW_NAMESPACE_END
