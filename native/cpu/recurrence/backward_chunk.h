// The backward pass in chunks of up to 16 tokens, for rules that read after the update, erase from the decayed state
// or not at all, and scale what they write by one number per token (spec 2.15). Notation, per chunk: b_i the sum of log
// gates up to token i, S the state before the chunk, N the written values [tokens, V], and, all [tokens, K],
//   Q = scale q e^b     E = e e^b     W = w e^(b_C - b)
//   dN = W dS' + tril(Q' W'^T)^T dO               P = (I + stril(beta E' W'^T))^-T dN       dR = beta P = dv
//   dA = tril(dO N^T)      X = stril(-dR N^T)
//   [dq; de] = [dO; -dR] S^T e^b + [dA; X] W' e^b'     dw = N dS'^T e^(b_C - b) + [dA; X]^T [Q'; E'] e^-b'
//   dS = e^b_C dS' + [Q; E]^T [dO; -dR]
// Primed factors take b' = b - b_middle in the place of b, for only ratios matter between tokens of a chunk. A chunk
// ends early where |b'| would exceed kLargestExponent; what a chunk's first gate does is never part of b'.
// The gradient of a gate is sum_v S dS at the token where a chunk begins, and otherwise that of the next token plus
//   q dq + e de - w dw.
#pragma once
#include "lanes.h"
#include "problem.h"
#include "tile.h"

FW_NAMESPACE_BEGIN

constexpr int64_t kChunk = 16;

class ChunkBackward {
 public:
  static bool covers(const Problem& p) {
    return !p.undecayed && !p.second_write && !p.read_before && !p.exchanged && p.beta_width <= 1;
  }

  ChunkBackward(const Context& cx, const recurrenceBackwardArgs& args, const Problem& p, int64_t head)
      : cx_(cx), args_(args), p_(p), x_(head_of(p, head)), h_(head), K_(round_up(p.K, kLanes)), V_(round_up(p.V, kLanes)),
        gated_(p.gate_width > 0) {
    Arena sizes(nullptr);
    lay_out(sizes);
    void* memory = cx.scratch(1, sizes.used);
    memset(memory, 0, static_cast<size_t>(sizes.used));
    Arena arena(memory);
    lay_out(arena);
  }

  void run(const Sequence& sequence, int64_t n) {
    const int64_t K = p_.K, V = p_.V, every = args_.checkpointEvery, state_at = (n * p_.heads + h_) * K * V;
    begin_ = sequence.begin;
    if (args_.dfinalState.data) stage_rows(dstate_, V_, args_.dfinalState + state_at, V, K, V);
    for (int64_t from = (sequence.length - 1) / every * every; from >= 0 && sequence.length > 0; from -= every) {
      const int64_t to = least(from + every, sequence.length);
      const float* checkpoint = args_.states + ((sequence.checkpoint + from / every) * p_.heads + h_) * K * V;
      plan(from, to);
      const bool ends = to == sequence.length, needs_end = ends && gated_ && args_.dfinalState.data;
      recompute(checkpoint, needs_end);
      if (ends) turn_dstate(needs_end ? state_before(chunks_) : nullptr);
      for (int64_t c = chunks_ - 1; c >= 0; c--) chunk(c);
    }
    if (args_.dinitialState.data) unstage_rows(args_.dinitialState + state_at, V, dstate_, V_, K, V);
  }

 private:
  void lay_out(Arena& arena) {
    float** stacks[] = {&read_, &read_state_, &dread_};
    dstate_ = arena.floats(K_ * V_), dstate_turned_ = arena.floats(V_ * K_);
    for (float** stack : stacks) *stack = arena.floats(2 * kChunk * K_);
    dwrite_ = arena.floats(kChunk * K_), dgate_end_ = arena.floats(K_), dgate_start_ = arena.floats(K_);
    doutput_ = arena.floats(2 * kChunk * V_);
    derror_ = arena.floats(kChunk * V_);
    write_turned_ = arena.floats(K_ * kChunk), written_turned_ = arena.floats(V_ * kChunk);
    scores_ = arena.floats(2 * kChunk * kChunk), dscores_ = arena.floats(2 * kChunk * kChunk);
    factors_ = arena.floats(kChunk * kChunk), beta_ = arena.floats(kChunk);
    parts_ = arena.floats(kChunk * kLanes), sums_ = arena.floats(kChunk);
    chunk_starts_ = reinterpret_cast<int64_t*>(arena.floats(2 * (args_.checkpointEvery + 1)));
    if (!gated_) read_state_ = read_;
  }

  // S before chunk c of the checkpoint's tokens, transposed.
  float* state_before(int64_t c) const { return states_ + c * V_ * K_; }

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

  // How many tokens from t on share a chunk, at most `count`. Besides tokens whose exponents do not fit, one that all but
  // clears the state begins a chunk: its dgate is tiny, and no difference of larger numbers would be exact enough.
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

  // The states before all chunks, and after the last one when `with_end`; what was staged for them is kept.
  void recompute(const float* checkpoint, bool with_end) {
    Arena sizes(nullptr);
    keep(sizes);
    kept_bytes_ = sizes.used;
    const int64_t states_bytes = (chunks_ + 1) * V_ * K_ * 4;
    states_ = static_cast<float*>(cx_.scratch(0, states_bytes + chunks_ * kept_bytes_));
    kept_ = reinterpret_cast<char*>(states_) + states_bytes;
    float* padded = state_before(chunks_);  // overwritten by the last state, if at all
    memset(padded, 0, static_cast<size_t>(K_ * V_ * 4));
    stage_rows(padded, V_, checkpoint, p_.V, p_.K, p_.V);
    transpose_matrix(states_, K_, padded, V_, K_, V_);
    for (int64_t c = 0; c < chunks_; c++) {
      const int64_t t = chunk_starts_[c], count = chunk_starts_[c + 1] - t;
      select_chunk(c);
      if (gated_) stage_gates(t, count);
      stage_write(t, count);
      if (c + 1 == chunks_ && !with_end) break;
      float* after = state_before(c + 1);
      memcpy(after, state_before(c), static_cast<size_t>(V_ * K_ * 4));
      add_product(V_, K_, count, {written_, 1, V_}, {write_state_, K_}, {after, K_}, kScaledColumns);
    }
  }

  void keep(Arena& arena) {
    write_ = arena.floats(kChunk * K_), written_ = arena.floats(kChunk * V_);
    write_state_ = write_;
    if (!gated_) return;
    write_state_ = arena.floats(kChunk * K_), grow_ = arena.floats(kChunk * K_), shrink_ = arena.floats(kChunk * K_);
    start_ = arena.floats(K_), end_ = arena.floats(K_), total_ = arena.floats(K_);
  }
  void select_chunk(int64_t c) {
    Arena arena(kept_ + c * kept_bytes_);
    keep(arena);
  }

  // C = total C + A B, with the decay of the whole chunk along the rows or the columns of C.
  void add_product(int64_t rows, int64_t columns, int64_t depth, Left a, Rows b, Rows c, Onto scaled) {
    if (!gated_) return multiply<kMatrix>(rows, columns, depth, a, b, c);
    if (scaled == kScaledRows) return multiply<kScaledRows>(rows, columns, depth, a, b, c, total_);
    multiply<kScaledColumns>(rows, columns, depth, a, b, c, total_);
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

  // Keeps j <= i of the first `rows` rows and j < i of the others.
  void mask(float* scores, int64_t rows) const {
    for (int64_t i = 0; i < rows; i++) {
      for (int64_t j = i + 1; j < kChunk; j++) scores[i * kChunk + j] = 0;
      for (int64_t j = i; j < kChunk; j++) scores[(rows + i) * kChunk + j] = 0;
    }
  }

  // P = (I + stril(beta E' W'^T))^-T dN, in the place of dN, from the last token to the first.
  void solve(int64_t count, int64_t rows) {
    for (int64_t i = 0; i < count; i++)
      for (int64_t j = 0; j < i; j++) factors_[j * kChunk + i] = -beta_[i] * scores_[(rows + i) * kChunk + j];
    int64_t v = 0;
    for (; v + 4 * kLanes <= V_; v += 4 * kLanes) solve_columns<4>(count, v);
    for (; v < V_; v += kLanes) solve_columns<1>(count, v);
  }
  template <int NV>
  void solve_columns(int64_t count, int64_t v) {
    for (int64_t j = count - 2; j >= 0; j--) {
      float* row = derror_ + j * V_ + v;
      Vec x[NV];
#pragma GCC unroll 4
      for (int n = 0; n < NV; n++) x[n] = load(row + n * kLanes);
      for (int64_t i = j + 1; i < count; i++) {
        const Vec factor = splat(factors_[j * kChunk + i]);
#pragma GCC unroll 4
        for (int n = 0; n < NV; n++) x[n] = fma(factor, load(derror_ + i * V_ + v + n * kLanes), x[n]);
      }
#pragma GCC unroll 4
      for (int n = 0; n < NV; n++) store(row + n * kLanes, x[n]);
    }
  }

  // dR = beta P goes out as dv and, negated, below dO; dbeta = P . (v - a), where v - a = N / beta.
  void through_error(int64_t t, int64_t count, int64_t rows, const float* state) {
    for (int64_t c = 0; c < count; c++) {
      const int64_t at = (begin_ + t + c) * p_.heads + h_;
      const Vec beta = splat(beta_[c]);
      Vec product{};
      for (int64_t v = 0; v < V_; v += kLanes) {
        const Vec dn = load(derror_ + c * V_ + v), dr = beta * dn;
        product = fma(dn, load(written_ + c * V_ + v), product);
        store_row(args_.dv + at * p_.V, v, p_.V, dr);
        if (p_.erase) store(doutput_ + (rows + c) * V_ + v, -dr);
      }
      store(parts_ + c * kLanes, product);
    }
    if (!p_.beta_width) return;
    sum_vectors(sums_, parts_, kChunk);
    for (int64_t c = 0; c < count; c++) {
      const bool divides = beta_[c] > kSmallestBeta || beta_[c] < -kSmallestBeta;
      args_.dbeta[(begin_ + t + c) * p_.heads + h_] = divides ? sums_[c] / beta_[c] : error_product(t, c, rows, state);
    }
  }

  // P . (v - a) of a token that wrote nothing.
  float error_product(int64_t t, int64_t c, int64_t rows, const float* state) const {
    const float *value = x_.v[begin_ + t + c], *dn = derror_ + c * V_;
    const float* weights = scores_ + (rows + c) * kChunk;
    Vec product{};
    for (int64_t v = 0; v < p_.V; v += kLanes) {
      Vec error = load_row(value, v, p_.V);
      for (int64_t j = 0; p_.erase && j < c; j++) error -= splat(weights[j]) * load(written_ + j * V_ + v);
      product = fma(load(dn + v), error, product);
    }
    for (int64_t i = 0; p_.erase && i < K_; i += kLanes) {
      Vec seen{};
      for (int64_t v = 0; v < p_.V; v++) seen = fma(splat(dn[v]), load(state + v * K_ + i), seen);
      product -= seen * load(read_state_ + (rows + c) * K_ + i);
    }
    return sum(product);
  }

  // Transposes dS, and takes dgate = sum over values of S dS where the state is given.
  void turn_dstate(const float* state) {
    for (int64_t i = 0; i < K_; i += kLanes) {
      Vec even{}, odd{};
      for (int64_t v = 0; v < V_; v += kLanes) {
        Vec x[kLanes];
#pragma GCC unroll 16
        for (int r = 0; r < kLanes; r++) x[r] = load(dstate_ + (i + r) * V_ + v);
        transpose(x);
#pragma GCC unroll 16
        for (int r = 0; r < kLanes; r++) store(dstate_turned_ + (v + r) * K_ + i, x[r]);
        if (!state) continue;
#pragma GCC unroll 8
        for (int r = 0; r < kLanes; r += 2) {
          even = fma(x[r], load(state + (v + r) * K_ + i), even);
          odd = fma(x[r + 1], load(state + (v + r + 1) * K_ + i), odd);
        }
      }
      store(dgate_start_ + i, even + odd);
    }
    float* next = dgate_end_;
    dgate_end_ = dgate_start_, dgate_start_ = next;
  }

  void chunk(int64_t c) {
    const int64_t t = chunk_starts_[c], count = chunk_starts_[c + 1] - t, rows = round_up(count, 4);
    const int64_t stack = p_.erase ? 2 * rows : rows;
    float* state = state_before(c);
    const Rows scores{scores_, kChunk}, dscores{dscores_, kChunk}, doutput{doutput_, V_}, derror{derror_, V_};
    const Rows dread{dread_, K_}, dwrite{dwrite_, K_};
    const Onto kOnto = gated_ ? kScaledColumns : kMatrix;
    select_chunk(c);
    stage_chunk(t, count, rows);
    transpose_matrix(write_turned_, kChunk, write_, K_, kChunk, K_);
    transpose_matrix(written_turned_, kChunk, written_, V_, kChunk, V_);
    multiply<kNothing>(stack, kChunk, p_.K, {read_, K_, 1}, {write_turned_, kChunk}, scores);
    mask(scores_, rows);
    multiply<kNothing>(rows, V_, p_.K, {write_state_, K_, 1}, {dstate_, V_}, derror);
    multiply<kMatrix>(rows, V_, count, {scores_, 1, kChunk}, doutput, derror);
    if (p_.erase) solve(count, rows);
    through_error(t, count, rows, state);
    multiply<kNothing>(stack, kChunk, p_.V, {doutput_, V_, 1}, {written_turned_, kChunk}, dscores);
    mask(dscores_, rows);
    multiply<kNothing>(stack, K_, p_.V, {doutput_, V_, 1}, {state, K_}, dread);
    multiply<kNothing>(rows, K_, p_.V, {written_, V_, 1}, {dstate_turned_, K_}, dwrite);
    if (kOnto == kScaledColumns) {
      multiply<kScaledColumns>(stack, K_, count, {dscores_, kChunk, 1}, {write_, K_}, dread, start_);
      multiply<kScaledColumns>(rows, K_, stack, {dscores_, 1, kChunk}, {read_, K_}, dwrite, end_);
    } else {
      multiply<kMatrix>(stack, K_, count, {dscores_, kChunk, 1}, {write_, K_}, dread);
      multiply<kMatrix>(rows, K_, stack, {dscores_, 1, kChunk}, {read_, K_}, dwrite);
    }
    add_product(round_up(p_.K, 4), V_, stack, {read_state_, 1, K_}, doutput, {dstate_, V_}, kScaledRows);
    if (gated_) write_dgate(t, count, rows);
    turn_dstate(gated_ ? state : nullptr);
    if (gated_) write_first_dgate(t);
    write_keys(t, count, rows);
  }

  // dgate of all tokens but the first, each from the next one's.
  void write_dgate(int64_t t, int64_t count, int64_t rows) {
    for (int64_t i = 0; i < K_; i += kLanes) {
      Vec dgate = load(dgate_end_ + i);
      for (int64_t c = count - 1; c > 0; c--) {
        const int64_t at = c * K_ + i, erase = at + rows * K_;
        dgate = fma(load(read_ + at), load(dread_ + at), dgate);
        if (p_.erase) dgate = fma(load(read_ + erase), load(dread_ + erase), dgate);
        dgate -= load(write_ + at) * load(dwrite_ + at);
        if (p_.gate_width > 1) {
          store_row(args_.dgate + ((begin_ + t + c) * p_.heads + h_) * p_.K, i, p_.K, dgate);
        } else {
          store(parts_ + c * kLanes, i == 0 ? dgate : dgate + load(parts_ + c * kLanes));
        }
      }
    }
    if (p_.gate_width > 1) return;
    sum_vectors(sums_, parts_, kChunk);
    for (int64_t c = 1; c < count; c++) args_.dgate[(begin_ + t + c) * p_.heads + h_] = sums_[c];
  }

  void write_first_dgate(int64_t t) {
    const int64_t at = (begin_ + t) * p_.heads + h_;
    if (p_.gate_width > 1) return unstage_rows(args_.dgate + at * p_.K, p_.K, dgate_end_, K_, 1, p_.K);
    Vec total{};
    for (int64_t i = 0; i < K_; i += kLanes) total += load(dgate_end_ + i);
    args_.dgate[at] = sum(total);
  }

  void write_keys(int64_t t, int64_t count, int64_t rows) {
    for (int64_t c = 0; c < count; c++) {
      const int64_t to = ((begin_ + t + c) * p_.heads + h_) * p_.K;
      for (int64_t i = 0; i < p_.K; i += kLanes) {
        const int64_t at = c * K_ + i;
        const Vec grow = gated_ ? load(grow_ + at) : splat(1), shrink = gated_ ? load(shrink_ + at) : splat(1);
        store_row(args_.dq + to, i, p_.K, load(dread_ + at) * grow * splat(p_.scale));
        const Vec erase = p_.erase ? load(dread_ + rows * K_ + at) * grow : Vec{}, write = load(dwrite_ + at) * shrink;
        Vec dk{};
        if (args_.deraseKey.data) {
          store_row(args_.deraseKey + to, i, p_.K, erase);
        } else {
          dk += erase;
        }
        if (args_.dwriteKey.data) {
          store_row(args_.dwriteKey + to, i, p_.K, write);
        } else {
          dk += write;
        }
        store_row(args_.dk + to, i, p_.K, dk);
      }
    }
  }

  static constexpr float kLargestExponent = 60;
  static constexpr float kClearingGate = -6;
  static constexpr float kSmallestBeta = 1e-30f;

  const Context& cx_;
  const recurrenceBackwardArgs& args_;
  const Problem& p_;
  const Head x_;
  const int64_t h_, K_, V_;  // K and V padded to whole vectors
  const bool gated_;
  int64_t begin_, chunks_, *chunk_starts_, kept_bytes_;
  char* kept_;
  float *states_, *dstate_, *dstate_turned_;
  // Where erase keys are concerned, Q' lies above E', Q above E, dO above -dR, and so for what is computed from them.
  float *read_, *read_state_, *dread_, *doutput_, *scores_, *dscores_;
  float *write_, *write_state_, *dwrite_, *written_, *derror_, *write_turned_, *written_turned_;
  float *grow_, *shrink_, *start_, *end_, *total_, *dgate_start_, *dgate_end_;
  float *factors_, *beta_, *parts_, *sums_;
};

FW_NAMESPACE_END
