// The backward pass in chunks of up to 16 tokens, for rules that scale what they write by one number per token
// (spec 2.15). Per chunk, with the keys of chunk_operands.h, all [tokens, K], S the state before it times e^b_middle,
// N the written values [tokens, V], and D the gradient of the state after it times e^(b_last - b_middle):
//   dN = W' D + tril(Q' W'^T)^T dO                P = (I + stril(beta E' W'^T))^-T dN       dR = beta P = dv
//   dA = tril(dO N^T)      X = stril(-dR N^T)
//   [dq; de] = ([dO; -dR] S^T + [dA; X] W') e^b'       dw = (N D^T + [dA; X]^T [Q'; E']) e^-b'
//   gradient of the state before it = (D + [Q'; E']^T [dO; -dR]) e^b_middle
// tril is stril for queries that read before the update. A second write adds its keys K' and values V to W' and N
// wherever both are read (their scores stand beside those of W'), and
//   dv = K' D + [tril(Q' K'^T); stril(E' K'^T)]^T [dO; -dR]
// Where keys and values are exchanged (chunk_operands.h), dq is what would else be the output: Q' S + tril(Q' W'^T) N.
#pragma once
#include "chunk_dgates.h"

FW_NAMESPACE_BEGIN

inline bool chunks_cover(const Problem& p) {
  return p.beta_width <= 1 && !(p.second_write && p.gate_width == 1);
}

// Whether the factors between a state and one read before its decay are numbers.
inline bool gates_invert(const Problem& p, int64_t h, const Sequence& sequence) {
  if (!(p.undecayed || p.read_before)) return true;
  const TokenRows gate = head_of(p, h).gate;
  Vec strongest{};
  for (int64_t t = sequence.begin; t < sequence.begin + sequence.length; t++)
    for (int64_t i = 0; i < p.gate_width; i += kLanes) strongest = vmax(strongest, -load_row(gate[t], i, p.gate_width));
  for (int i = 0; i < kLanes; i++)
    if (strongest[i] > kLargestExponent) return false;
  return true;
}

template <Gate kGate>
class ChunkBackward : ChunkDgates<kGate> {
  using Base = ChunkDgates<kGate>;
  using Base::kGated, Base::args_, Base::p_, Base::x_, Base::K_, Base::V_, Base::begin_, Base::chunks_, Base::ahead_,
      Base::read_, Base::doutput_, Base::dstate_, Base::dread_, Base::scores_, Base::dscores_, Base::dwrite_turned_,
      Base::write_turned_, Base::dgate_, Base::first_dgate_, Base::place, Base::writes_, Base::reads_before_,
      Base::now_, Base::state_before, Base::chunk, Base::erased, Base::stack, Base::anchor, Base::anchored,
      Base::column_apart_, Base::columns_, Base::dcolumn_;

 public:
  ChunkBackward(const Context& cx, const recurrenceBackwardArgs& args, const Problem& p, int64_t head)
      : Base(cx, args, p, head) {
    Arena sizes(nullptr);
    lay_out(sizes);
    void* memory = cx.scratch(1, sizes.used);
    memset(memory, 0, static_cast<size_t>(sizes.used));
    Arena arena(memory);
    lay_out(arena);
    for (int64_t i = 0; i < K_; i++) this->ones_[i] = 1;
  }

  void run(const Sequence& sequence, int64_t n) {
    const int64_t K = p_.K, V = p_.V, every = args_.checkpointEvery, state_at = (n * p_.heads + this->h_) * K * V;
    begin_ = sequence.begin;
    if (args_.dfinalState.data) stage_rows(dstate_.data, dstate_.stride, args_.dfinalState + state_at, V, K, V);
    for (int64_t from = (sequence.length - 1) / every * every; from >= 0 && sequence.length > 0; from -= every) {
      const int64_t to = least(from + every, sequence.length);
      this->plan(from, to);
      const bool needs_end = to == sequence.length && kGated && args_.dfinalState.data;
      this->recompute(this->checkpoint(sequence, from), needs_end);
      if (needs_end) {
        anchor(state_before(chunks_));
        store(first_dgate_, anchored());
      }
      scale_rows(chunk(chunks_ - 1).end);
      for (int64_t c = chunks_ - 1; c >= 0; c--) {
        if (c > 0) this->fetch_read(c - 1);
        if (from > 0) this->fetch_segment(sequence, from - every, c);
        ahead_.spread((p_.erase ? 6 : 4) * kChunk * K_ * V_ / kLanes);
        through_chunk(c);
        ahead_.finish();
      }
      if (kGate == kPerToken) {
        store(first_dgate_, anchored(this->checkpoint(sequence, from)));
        if (!reads_before_) args_.dgate[place(from)] = sum(load(first_dgate_));
      }
    }
    if (args_.dbonus.data) unstage_rows(args_.dbonus + (n * p_.heads + this->h_) * K, K, dbonus_, K_, 1, K);
    if (args_.dinitialState.data)
      unstage_rows(args_.dinitialState + state_at, V, dstate_.data, dstate_.stride, K, V);
  }

 private:
  void lay_out(Arena& arena) {
    this->lay_out_dgates(arena);
    dwrite_ = rows_in(arena, writes_, K_), written_turned_ = rows_in(arena, V_, writes_);
    dbonus_ = arena.floats(K_), first_read_ = arena.floats(2 * K_);
    if (!p_.exchanged) return;
    read_turned_ = rows_in(arena, K_, kChunk), scores_turned_ = rows_in(arena, kChunk, kChunk);
    output_ = rows_in(arena, kChunk, V_), output_turned_ = rows_in(arena, V_, kChunk);
  }

  void scale_rows(const float* factors) {
    if (kGate == kUngated) return;
    for (int64_t i = 0; i < p_.K; i++) scale_row(dstate_[i], V_, factors[i]);
  }

  void through_chunk(int64_t c) {
    this->stage_read(c);
    const int64_t count = now_.count, rows = now_.rows;
    const Rows state = state_before(c);
    transpose(write_turned_, now_.write, writes_, K_);
    transpose(written_turned_, now_.written, writes_, V_);
    multiply<kTriangles>(ahead_, stack(), writes_, this->triangles(scores_), times(read_, write_turned_, p_.K));
    if (p_.exchanged) read(state);
    this->through_writes();
    multiply<kTriangles>(ahead_, stack(), writes_, this->triangles(dscores_),
                         times(doutput_, written_turned_, p_.V));
    const auto dread_state = times(doutput_, state, p_.V);
    const auto dread_scores = times<kLower>(dscores_, now_.write, count, rows);
    if (kGate == kPerToken) {
      multiply<kStore>(ahead_, stack(), K_, {dread_}, dread_state);
    } else {
      multiply<kStore>(ahead_, stack(), K_, {dread_}, dread_state, dread_scores);
    }
    if (p_.second_write)
      multiply<kAdd>(ahead_, stack(), K_, {dread_, dread_},
                     times<kLower>(second_columns(dscores_), second_rows(now_.write), count, rows));
    multiply<kStore>(ahead_, K_, writes_, {dwrite_turned_}, times(dstate_, written_turned_, p_.V));
    if (kGate == kPerToken) {
      this->cross();
      multiply<kAdd>(ahead_, stack(), K_, {dread_, dread_}, dread_scores);
    }
    transpose(dwrite_, dwrite_turned_, K_, writes_);
    for (int64_t first = 0; first < writes_; first += kChunk) {
      const Rows dwrite = dwrite_.from(first), dscores = dscores_.from(0, first);
      multiply<kAdd>(ahead_, rows, K_, {dwrite, dwrite}, transposed_times<kUpper>(dscores, read_, count),
                     transposed_times<kUpper>(erased(dscores), erased(read_), p_.erase ? count : 0));
    }
    write_keys();
    if (x_.bonus) bonus();
    through_state();
  }

  // From dS after the chunk to dS before it; where a gradient of gates per key starts anew, it does in between.
  void through_state() {
    const int64_t c = now_.index, t = now_.t;
    const bool anchors = kGate == kPerKey && (c == 0 || this->clears(t));
    const float* first = anchors ? this->ones_ : now_.start;
    const float* then = anchors || c == 0 ? this->ones_ : chunk(c - 1).end;
    const auto add_reads = [&] {
      const int64_t K = round_up(p_.K, 4);
      const Target to{dstate_, dstate_, first, then};
      const auto reads = transposed_times(read_, doutput_, stack());
      const bool scales = kGated && !this->continues(c);
      if (column_apart_) {
        column_reads(dcolumn_, read_, K_, doutput_, columns_, stack(), scales ? first : nullptr, then);
        scatter_column(dstate_, columns_, dcolumn_, p_.K);
      }
      if (!scales) return multiply<kAdd>(ahead_, K, columns_, to, reads);
      if constexpr (kGated) multiply<kScaledRows>(ahead_, K, columns_, to, reads);
    };
    if (!anchors) return add_reads();
    // What the first token reads before its decay has no part in the gradient of that decay.
    const int64_t undecayed[] = {p_.read_before ? 0 : -1, p_.erase && p_.undecayed ? now_.rows : -1};
    for (int64_t row : undecayed) {
      if (row < 0) continue;
      memcpy(first_read_ + (row ? K_ : 0), read_[row], static_cast<size_t>(K_ * 4));
      zero_row(read_[row], K_);
    }
    add_reads();
    anchor(state_before(c));
    unstage_rows(args_.dgate + place(t) * p_.K, p_.K, dgate_, K_, 1, p_.K);
    for (int64_t row : undecayed) {
      if (row < 0) continue;
      const float *read = first_read_ + (row ? K_ : 0), *doutput = doutput_[row];
      for (int64_t i = 0; i < K_; i += kLanes)
        store(dgate_ + i, fma(load(read + i), load(dread_[row] + i), load(dgate_ + i)));
      for (int64_t i = 0; i < p_.K; i++)
        for (int64_t v = 0; v < V_; v += kLanes)
          store(dstate_[i] + v, fma(splat(read[i]), load(doutput + v), load(dstate_[i] + v)));
    }
    scale_rows(now_.start);
    if (c > 0) scale_rows(chunk(c - 1).end);
  }

  // o += scale (q . (bonus k)) v.
  void bonus() {
    for (int64_t c = 0; c < now_.count; c++) {
      const int64_t t = now_.t + c, at = begin_ + t, key = place(t) * p_.K, value = place(t) * p_.V;
      const float *q = x_.q[at], *k = x_.k[at], *v = x_.v[at], *doutput = doutput_[c];
      const auto row = [&](const float* x, int64_t i) { return load_row(x, i, p_.K); };
      const auto add = [&](float* to, int64_t i, int64_t n, Vec x) { store_row(to, i, n, load_row(to, i, n) + x); };
      Vec weights{}, products{};
      for (int64_t i = 0; i < p_.K; i += kLanes) weights += row(q, i) * row(k, i) * row(x_.bonus, i);
      for (int64_t i = 0; i < p_.V; i += kLanes) products += load(doutput + i) * load_row(v, i, p_.V);
      const Vec y = splat(sum(weights) * p_.scale), dy = splat(sum(products) * p_.scale);
      for (int64_t i = 0; i < p_.V; i += kLanes) add(args_.dv + value, i, p_.V, y * load(doutput + i));
      for (int64_t i = 0; i < p_.K; i += kLanes) {
        add(args_.dq + key, i, p_.K, dy * row(x_.bonus, i) * row(k, i));
        add(args_.dk + key, i, p_.K, dy * row(x_.bonus, i) * row(q, i));
        add(dbonus_, i, p_.K, dy * row(q, i) * row(k, i));
      }
    }
  }

  // Q' S + tril(Q' W'^T) N, made in columns, as which S lies in memory.
  void read(Rows state) {
    transpose(read_turned_, read_, kChunk, K_);
    transpose(scores_turned_, scores_, kChunk, kChunk);
    multiply<kStore>(ahead_, V_, kChunk, {output_turned_}, times(state, read_turned_, p_.K),
                     times(written_turned_, scores_turned_, now_.count));
    transpose(output_, output_turned_, V_, kChunk);
    unstage_rows(args_.dq + place(now_.t) * p_.V, p_.heads * p_.V, output_.data, output_.stride, now_.count, p_.V);
  }

  // dq, dk and their like, and dgate per key. A token at a time: the rows of tokens may all fall on the same sets of
  // the first-level cache.
  void write_keys() {
    for (int64_t c = now_.count - 1; c >= 0; c--) {
      int64_t i = 0;
      for (; i + kLanes <= p_.K; i += kLanes) write_key_columns<true>(c, i);
      if (i < p_.K) write_key_columns<false>(c, i);
    }
  }

  // Keys i ... of token c, a whole vector of them or not.
  template <bool kWhole>
  __attribute__((always_inline)) void write_key_columns(int64_t c, int64_t i) {
    const bool own_erase = args_.deraseKey.data, own_write = args_.dwriteKey.data;
    const int64_t to = place(now_.t + c) * p_.K;
    const auto put = [&](float* rows, Vec x) {
      return kWhole ? store(rows + to + i, x) : store_row(rows + to, i, p_.K, x);
    };
    const Vec dread = load(dread_[c] + i), dwrite = load(dwrite_[c] + i);
    const Vec derase = p_.erase ? load(erased(dread_)[c] + i) : Vec{};
    const Vec dsecond = p_.second_write ? load(second_rows(dwrite_)[c] + i) : Vec{};
    if (kGate == kPerKey) {
      Vec dgate = load(dgate_ + i);
      const auto add_read = [&] { dgate = fma(load(read_[c] + i), dread, dgate); };
      const auto add_erase = [&] { dgate = fma(load(erased(read_)[c] + i), derase, dgate); };
      if (!p_.read_before) add_read();
      if (p_.erase && !p_.undecayed) add_erase();
      dgate -= load(now_.write[c] + i) * dwrite;
      if (p_.second_write) dgate -= load(second_rows(now_.write)[c] + i) * dsecond;
      put(args_.dgate, dgate);
      if (p_.read_before) add_read();
      if (p_.erase && p_.undecayed) add_erase();
      store(dgate_ + i, dgate);
    }
    const Vec shrink = this->factor(now_.shrink, c, i);
    const Vec erase = derase * this->erase_factor(c, i), write = dwrite * shrink;
    Vec key = own_erase ? (own_write ? Vec{} : write) : own_write ? erase : erase + write;
    if (p_.second_write) key = fma(dsecond, shrink, key);
    if (!p_.exchanged) put(args_.dq, dread * this->read_factor(c, i) * splat(p_.scale));
    put(args_.dk, key);
    if (own_erase) put(args_.deraseKey, erase);
    if (own_write) put(args_.dwriteKey, write);
  }

  Rows dwrite_, written_turned_;
  Rows read_turned_, scores_turned_, output_, output_turned_;  // of exchanged keys and values
  float *dbonus_, *first_read_;
};

FW_NAMESPACE_END
