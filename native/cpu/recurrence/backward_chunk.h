// The backward pass in chunks of up to 16 tokens, for rules that read after the update, erase from the decayed state
// or not at all, and scale what they write by one number per token (spec 2.15). Notation, per chunk: b_i the sum of log
// gates up to token i, S the state before the chunk, N the written values [tokens, V], and, all [tokens, K],
//   Q = scale q e^b     E = e e^b     W = w e^(b_C - b)
//   dN = W dS' + tril(Q' W'^T)^T dO               P = (I + stril(beta E' W'^T))^-T dN       dR = beta P = dv
//   dA = tril(dO N^T)      X = stril(-dR N^T)
//   [dq; de] = [dO; -dR] S^T e^b + [dA; X] W' e^b'     dw = N dS'^T e^(b_C - b) + [dA; X]^T [Q'; E'] e^-b'
//   dS = e^b_C dS' + [Q; E]^T [dO; -dR]
// Primed factors take b' = b - b_middle in the place of b (chunk_operands.h).
// The gradient of a gate is sum_v S dS at the token where a chunk begins, and otherwise that of the next token plus
//   q dq + e de - w dw.
#pragma once
#include "chunk_operands.h"
#include "tile.h"

FW_NAMESPACE_BEGIN

class ChunkBackward : ChunkOperands {
 public:
  static bool covers(const Problem& p) {
    return !p.undecayed && !p.second_write && !p.read_before && !p.exchanged && p.beta_width <= 1;
  }

  ChunkBackward(const Context& cx, const recurrenceBackwardArgs& args, const Problem& p, int64_t head)
      : ChunkOperands(args, p, head), cx_(cx) {
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
    lay_out_operands(arena);
    dstate_ = arena.floats(K_ * V_), dstate_turned_ = arena.floats(V_ * K_);
    dread_ = arena.floats(2 * kChunk * K_), dwrite_ = arena.floats(kChunk * K_), derror_ = arena.floats(kChunk * V_);
    dgate_end_ = arena.floats(K_), dgate_start_ = arena.floats(K_);
    write_turned_ = arena.floats(K_ * kChunk), written_turned_ = arena.floats(V_ * kChunk);
    scores_ = arena.floats(2 * kChunk * kChunk), dscores_ = arena.floats(2 * kChunk * kChunk);
    factors_ = arena.floats(kChunk * kChunk);
  }

  // S before chunk c of the checkpoint's tokens, transposed.
  float* state_before(int64_t c) const { return states_ + c * V_ * K_; }

  // The states before all chunks, and after the last one when `with_end`; what was staged for them is kept.
  void recompute(const float* checkpoint, bool with_end) {
    kept_bytes_ = kept_bytes();
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

  // C = total C + A B, with the decay of the whole chunk along the rows or the columns of C.
  void add_product(int64_t rows, int64_t columns, int64_t depth, Left a, Rows b, Rows c, Onto scaled) {
    if (!gated_) return multiply<kMatrix>(rows, columns, depth, a, b, c);
    if (scaled == kScaledRows) return multiply<kScaledRows>(rows, columns, depth, a, b, c, total_);
    multiply<kScaledColumns>(rows, columns, depth, a, b, c, total_);
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

  static constexpr float kSmallestBeta = 1e-30f;

  const Context& cx_;
  float *states_, *dstate_, *dstate_turned_;
  float *dread_, *dwrite_, *derror_, *scores_, *dscores_, *factors_;  // dread_ and the scores stacked like read_
  float *write_turned_, *written_turned_, *dgate_start_, *dgate_end_;
};

FW_NAMESPACE_END
