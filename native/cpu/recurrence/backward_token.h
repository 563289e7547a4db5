// The backward pass token by token, for every form of the recurrence. States are recomputed from the last checkpoint
// with the values that the forward pass wrote: first at every kStride-th token, then one by one within each stride, so
// that few of them are held at a time.
//   S_t = D S_{t-1} + w r^T [+ k v^T],   g = scale do
//   dS_t += q g^T      dr = dS_t^T w      dw = dS_t r      [dv = dS_t^T k, dk = dS_t v]
//   du = beta dr       dbeta = (u - a) dr     da = -du     de = X S_{t-1} da
//   dS_{t-1} = D (dS_t + e da^T), or D dS_t + e da^T for an undecayed erase;   dgate = D (dS~ . S_{t-1})
#pragma once
#include "../lanes.h"
#include "normalizer.h"

FW_NAMESPACE_BEGIN

constexpr int64_t kStride = 16;

class TokenBackward {
 public:
  TokenBackward(const Context& cx, const recurrenceBackwardArgs& args, const Problem& p)
      : args_(args), p_(p), rows_(round_up(p.K, kLanes)), columns_(round_up(p.V, kLanes)), size_(rows_ * columns_) {
    const int64_t strides = (args.checkpointEvery + kStride - 1) / kStride;
    bytes_ = (strides + kStride + 2) * size_ * 4;
    states_ = static_cast<float*>(cx.scratch(0, bytes_));
    memset(states_, 0, static_cast<size_t>(bytes_));
    stride_states_ = states_, token_states_ = stride_states_ + strides * size_;
    dstate_ = token_states_ + (kStride + 1) * size_;
    Arena sizes(nullptr);
    lay_out(sizes);
    void* memory = cx.scratch(1, sizes.used);
    memset(memory, 0, static_cast<size_t>(sizes.used));
    Arena arena(memory);
    lay_out(arena);
  }

  void run(const Sequence& sequence, int64_t n, int64_t h) {
    x_ = head_of(p_, h), h_ = h;
    const int64_t K = p_.K, V = p_.V, every = args_.checkpointEvery, state_at = (n * p_.heads + h) * K * V;
    if (args_.dfinalState.data) stage_rows(dstate_, columns_, args_.dfinalState + state_at, V, K, V);
    for (int64_t from = (sequence.length - 1) / every * every; from >= 0 && sequence.length > 0; from -= every) {
      const int64_t to = least(from + every, sequence.length);
      const float* checkpoint = args_.states + ((sequence.checkpoint + from / every) * p_.heads + h) * K * V;
      stage_rows(stride_states_, columns_, checkpoint, V, K, V);
      for (int64_t t = from; t + kStride < to; t += kStride) {
        float* next = stride_states_ + ((t - from) / kStride + 1) * size_;
        memcpy(next, next - size_, static_cast<size_t>(size_ * 4));
        for (int64_t c = 0; c < kStride; c++) advance(next, next, sequence.begin + t + c);
      }
      for (int64_t t = from + (to - from - 1) / kStride * kStride; t >= from; t -= kStride) {
        const int64_t count = least(kStride, to - t);
        memcpy(token_states_, stride_states_ + (t - from) / kStride * size_, static_cast<size_t>(size_ * 4));
        for (int64_t c = 0; c < count; c++)
          advance(token_states_ + (c + 1) * size_, token_states_ + c * size_, sequence.begin + t + c);
        for (int64_t c = count - 1; c >= 0; c--) {
          const float* before = token_states_ + c * size_;
          token(before, before + size_, sequence.begin + t + c);
        }
      }
    }
    if (args_.dinitialState.data) unstage_rows(args_.dinitialState + state_at, V, dstate_, columns_, K, V);
    if (args_.dbonus.data) unstage_rows(args_.dbonus + (n * p_.heads + h) * K, K, dbonus_, rows_, 1, K);
  }

 private:
  // Sums over lanes that are still to be made: one vector for each row of the state.
  enum Part { kRead, kWrite, kSecond, kErase, kGate, kParts };

  void lay_out(Arena& arena) {
    float** of_rows[] = {&k_, &erase_, &write_, &decay_, &left_, &dleft_, &dk_, &dbonus_};
    float** of_columns[] = {&v_, &r_, &right_, &dright_, &dr_, &du_, &dv_, &error_, &beta_};
    for (float** row : of_rows) *row = arena.floats(rows_);
    for (float** row : of_columns) *row = arena.floats(columns_);
    parts_ = arena.floats(kParts * rows_ * kLanes);
    sums_ = arena.floats(kParts * rows_);
  }

  void stage_write(int64_t t) {
    stage_row(write_, x_.write_key[t], p_.K, rows_);
    stage_row(k_, x_.k[t], p_.K, rows_);
    stage_row(v_, x_.v[t], p_.values, columns_);
    if (p_.max) v_[p_.values] = 1;
    stage_row(r_, args_.written + (t * p_.heads + h_) * p_.V, p_.V, columns_);
    const float* gate = p_.gate_width ? x_.gate[t] : nullptr;
    for (int64_t i = 0; i < rows_; i += kLanes)
      store(decay_ + i, p_.gate_width == 0 ? splat(1)
                                           : vexp(p_.gate_width == 1 ? splat(gate[0]) : load_row(gate, i, p_.K)));
  }

  // The state after token t from the state before it.
  void advance(float* after, const float* before, int64_t t) {
    stage_write(t);
    for (int64_t i = 0; i < p_.K; i++)
      for (int64_t j = 0; j < columns_; j += kLanes) {
        Vec x = fma(load(r_ + j), splat(write_[i]), load(before + i * columns_ + j) * splat(decay_[i]));
        if (p_.second_write) x = fma(load(v_ + j), splat(k_[i]), x);
        store(after + i * columns_ + j, x);
      }
  }

  void token(const float* before, const float* after, int64_t t) {
    const int64_t K = p_.K, V = p_.V, at = t * p_.heads + h_;
    stage_write(t);
    stage_row(erase_, x_.erase_key[t], K, rows_, p_.erase ? 1 : 0);
    // The read is q^T S, or exchanged S q: either way dS += left right^T.
    const float *q = x_.q[t], *dout = args_.doutput + at * (p_.exchanged ? K : V);
    stage_row(left_, p_.exchanged ? dout : q, K, rows_, p_.exchanged ? p_.scale : 1);
    if (p_.max) {
      stage_read_gradients(args_, p_, at, 1, {right_, columns_}, columns_);
      scale_row(right_, columns_, p_.scale);
    } else {
      stage_row(right_, p_.exchanged ? q : dout, V, columns_, p_.exchanged ? 1 : p_.scale);
    }
    const float* beta = p_.beta_width ? x_.beta[t] : nullptr;
    for (int64_t j = 0; j < columns_; j += kLanes)
      store(beta_ + j, p_.beta_width == 0 ? splat(1) : p_.beta_width == 1 ? splat(beta[0]) : load_row(beta, j, V));

    for (int64_t j = 0; j < columns_; j += kLanes) through_write(before, after, j);
    for (int64_t j = 0; j < columns_; j += kLanes) through_erase_and_decay(before, j);
    sum_vectors(sums_, parts_, kParts * rows_);
    bonus();

    Vec dbeta{};
    for (int64_t j = 0; j < columns_; j += kLanes) {
      const Vec error = load(error_ + j) * load(dr_ + j);
      dbeta += error;
      if (p_.beta_width > 1) store_row(args_.dbeta + at * V, j, V, error);
      store_row(args_.dv + at * p_.values, j, p_.values, load(dv_ + j));
      if (p_.exchanged) store_row(args_.dq + at * V, j, V, load(dright_ + j));
    }
    if (p_.beta_width == 1) args_.dbeta[at] = sum(dbeta);
    Vec dgate{};
    for (int64_t i = 0; i < K; i += kLanes) {
      const auto part = [&](Part which) { return load(sums_ + which * rows_ + i); };
      Vec dk = load(dk_ + i);
      if (p_.second_write) dk += part(kSecond);
      if (args_.dwriteKey.data) {
        store_row(args_.dwriteKey + at * K, i, K, part(kWrite));
      } else {
        dk += part(kWrite);
      }
      if (args_.deraseKey.data) {
        store_row(args_.deraseKey + at * K, i, K, part(kErase));
      } else {
        dk += part(kErase);
      }
      store_row(args_.dk + at * K, i, K, dk);
      if (!p_.exchanged) store_row(args_.dq + at * K, i, K, part(kRead) + load(dleft_ + i));
      const Vec gate = load(decay_ + i) * part(kGate);
      dgate += gate;
      if (p_.gate_width > 1) store_row(args_.dgate + at * K, i, K, gate);
    }
    if (p_.gate_width == 1) args_.dgate[at] = sum(dgate);
  }

  // Columns j ...: the read after the update, what was written, and u - a.
  void through_write(const float* before, const float* after, int64_t j) {
    const float* seen = p_.read_before ? before : after;
    const Vec right = load(right_ + j), r = load(r_ + j), v = load(v_ + j);
    Vec dr{}, dv{}, a{}, dright{};
    for (int64_t i = 0; i < p_.K; i++) {
      const int64_t at = i * columns_ + j;
      const Vec s = load(seen + at), left = splat(left_[i]);
      Vec ds = load(dstate_ + at);
      if (!p_.read_before) store(dstate_ + at, ds = fma(right, left, ds));
      add(kRead, i, j, s * right);
      add(kWrite, i, j, ds * r);
      dright = fma(s, left, dright);
      dr = fma(ds, splat(write_[i]), dr);
      a = fma(load(before + at), splat(p_.undecayed ? erase_[i] : erase_[i] * decay_[i]), a);
      if (!p_.second_write) continue;
      add(kSecond, i, j, ds * v);
      dv = fma(ds, splat(k_[i]), dv);
    }
    const Vec du = load(beta_ + j) * dr;
    store(dr_ + j, dr), store(du_ + j, du), store(dright_ + j, dright);
    store(dv_ + j, p_.second_write ? dv : du);
    store(error_ + j, (p_.second_write ? Vec{} : v) - a);
  }

  // Columns j ...: from dS after the write to dS before the token.
  void through_erase_and_decay(const float* before, int64_t j) {
    const Vec da = p_.erase ? -load(du_ + j) : Vec{}, right = load(right_ + j);
    for (int64_t i = 0; i < p_.K; i++) {
      const int64_t at = i * columns_ + j;
      const Vec s = load(before + at), decay = splat(decay_[i]), erased = da * splat(erase_[i]);
      Vec ds = load(dstate_ + at);
      if (!p_.undecayed) ds += erased;
      add(kErase, i, j, p_.undecayed ? s * da : decay * s * da);
      add(kGate, i, j, ds * s);
      ds *= decay;
      if (p_.undecayed) ds += erased;
      if (p_.read_before) ds = fma(right, splat(left_[i]), ds);
      store(dstate_ + at, ds);
    }
  }

  // o += scale (q . (bonus k)) v, read before the update; otherwise clears what it adds to.
  void bonus() {
    const float* bonus = x_.bonus;
    Vec weight{}, dweight{};
    for (int64_t i = 0; bonus && i < rows_; i += kLanes)
      weight += load(left_ + i) * load(k_ + i) * load_row(bonus, i, p_.K);
    for (int64_t j = 0; bonus && j < columns_; j += kLanes) dweight += load(right_ + j) * load(v_ + j);
    const Vec y = splat(sum(weight)), dy = splat(sum(dweight));
    for (int64_t j = 0; bonus && j < columns_; j += kLanes) store(dv_ + j, fma(y, load(right_ + j), load(dv_ + j)));
    for (int64_t i = 0; i < rows_; i += kLanes) {
      const Vec b = bonus ? load_row(bonus, i, p_.K) : Vec{}, q = load(left_ + i), k = load(k_ + i);
      store(dleft_ + i, dy * b * k);
      store(dk_ + i, dy * b * q);
      if (bonus) store(dbonus_ + i, fma(dy * q, k, load(dbonus_ + i)));
    }
  }

  void add(Part part, int64_t i, int64_t j, Vec x) {
    float* sum = parts_ + (part * rows_ + i) * kLanes;
    store(sum, j == 0 ? x : load(sum) + x);
  }

  const recurrenceBackwardArgs& args_;
  const Problem& p_;
  const int64_t rows_, columns_, size_;  // the padded state
  int64_t bytes_, h_;
  Head x_;
  float *states_, *stride_states_, *token_states_, *dstate_;
  float *k_, *erase_, *write_, *decay_, *left_, *dleft_, *dk_, *dbonus_;
  float *v_, *r_, *right_, *dright_, *dr_, *du_, *dv_, *error_, *beta_;
  float *parts_, *sums_;
};

FW_NAMESPACE_END
