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
// The gradient of a gate per token and key is that of the next token's plus q dq + e de - w dw, where reads before the
// decay count for the tokens before; it starts from sum_v S dS at the end of every segment between checkpoints and
// wherever a gate clears the state. In one gate per token these differences would cancel: it gets the sum of what was
// written before it and is read after it (cross).
// Where keys and values are exchanged (chunk_operands.h), dq is what would else be the output: Q' S + tril(Q' W'^T) N.
#pragma once
#include "chunk_errors.h"

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
class ChunkBackward : ChunkErrors<kGate> {
  using Errors = ChunkErrors<kGate>;
  using Errors::kGated, Errors::args_, Errors::p_, Errors::K_, Errors::V_, Errors::chunks_, Errors::ahead_,
      Errors::read_, Errors::doutput_, Errors::dstate_, Errors::scores_, Errors::parts_, Errors::place, Errors::writes_,
      Errors::reads_before_, Errors::state_before;

 public:
  ChunkBackward(const Context& cx, const recurrenceBackwardArgs& args, const Problem& p, int64_t head)
      : Errors(cx, args, p, head) {
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
    this->begin_ = sequence.begin;
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
      scale_rows(this->kept(chunks_ - 1).end);
      for (int64_t c = chunks_ - 1; c >= 0; c--) {
        if (c > 0) this->fetch_read(ahead_, this->start_of(c - 1), this->length_of(c - 1));
        if (from > 0) this->fetch_segment(sequence, from - every, c);
        ahead_.spread((p_.erase ? 6 : 4) * kChunk * K_ * V_ / kLanes);
        chunk(c);
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
    this->lay_out_errors(arena);
    dread_ = rows_in(arena, 2 * kChunk, K_), dwrite_ = rows_in(arena, writes_, K_);
    dwrite_turned_ = rows_in(arena, K_, writes_);
    write_turned_ = rows_in(arena, K_, writes_), written_turned_ = rows_in(arena, V_, writes_);
    dscores_ = rows_in(arena, 2 * kChunk, writes_);
    dgate_ = arena.floats(K_), first_dgate_ = arena.floats(kLanes);
    dbonus_ = arena.floats(K_), first_read_ = arena.floats(2 * K_);
    if (!p_.exchanged) return;
    read_turned_ = rows_in(arena, K_, kChunk), scores_turned_ = rows_in(arena, kChunk, kChunk);
    output_ = rows_in(arena, kChunk, V_), output_turned_ = rows_in(arena, V_, kChunk);
  }

  void scale_rows(const float* factors) {
    if (kGate == kUngated) return;
    for (int64_t i = 0; i < p_.K; i++) scale_row(dstate_[i], V_, factors[i]);
  }

  // dgate = sum over values of S dS, from a state as they are kept and its gradient.
  void anchor(Rows state) {
    for (int64_t i = 0; i < K_; i += kLanes) {
      Vec even{}, odd{};
      for (int64_t v = 0; v < V_; v += kLanes) {
        Vec x[kLanes];
#pragma GCC unroll 16
        for (int r = 0; r < kLanes; r++) x[r] = load(dstate_[i + r] + v);
        transpose(x);
#pragma GCC unroll 8
        for (int r = 0; r < kLanes; r += 2) {
          even = fma(x[r], load(state[v + r] + i), even);
          odd = fma(x[r + 1], load(state[v + r + 1] + i), odd);
        }
      }
      store(dgate_ + i, even + odd);
    }
  }

  // Their sum, in lanes that are yet to be summed; and the same at a checkpoint.
  Vec anchored() const {
    Vec total{};
    for (int64_t i = 0; i < K_; i += kLanes) total += load(dgate_ + i);
    return total;
  }
  Vec anchored(const float* checkpoint) const {
    Vec total{};
    for (int64_t i = 0; i < p_.K; i++) {
      Vec row{};
      for (int64_t v = 0; v < V_; v += kLanes)
        row = fma(load(dstate_[i] + v), load_row(checkpoint + i * p_.V, v, p_.V), row);
      total += row;
    }
    return total;
  }

  void chunk(int64_t c) {
    const int64_t t = this->start_of(c), count = this->length_of(c), rows = round_up(count, 4);
    const int64_t stack = p_.erase ? 2 * rows : rows;
    const Kept kept = this->kept(c);
    const Rows state = state_before(c);
    this->stage_read(kept, t, count, rows);
    transpose(write_turned_, kept.write, writes_, K_);
    transpose(written_turned_, kept.written, writes_, V_);
    multiply<kTriangles>(ahead_, stack, writes_, this->triangles(scores_, rows),
                         times(read_, write_turned_, p_.K));
    if (p_.exchanged) read(t, count, state);
    this->through_writes(kept, c, rows);
    multiply<kTriangles>(ahead_, stack, writes_, this->triangles(dscores_, rows),
                         times(doutput_, written_turned_, p_.V));
    const auto dread_state = times(doutput_, state, p_.V);
    const auto dread_scores = times<kLower>(dscores_, kept.write, count, rows);
    if (kGate == kPerToken) {
      multiply<kStore>(ahead_, stack, K_, {dread_}, dread_state);
    } else {
      multiply<kStore>(ahead_, stack, K_, {dread_}, dread_state, dread_scores);
    }
    if (p_.second_write)
      multiply<kAdd>(ahead_, stack, K_, {dread_, dread_},
                     times<kLower>(dscores_.from(0, kChunk), kept.write.from(kChunk), count, rows));
    multiply<kStore>(ahead_, K_, writes_, {dwrite_turned_}, times(dstate_, written_turned_, p_.V));
    if (kGate == kPerToken) {
      cross(kept, c, count, rows);
      multiply<kAdd>(ahead_, stack, K_, {dread_, dread_}, dread_scores);
    }
    transpose(dwrite_, dwrite_turned_, K_, writes_);
    for (int64_t first = 0; first < writes_; first += kChunk) {
      const Rows dwrite = dwrite_.from(first);
      multiply<kAdd>(ahead_, rows, K_, {dwrite, dwrite},
                     transposed_times<kUpper>(dscores_.from(0, first), read_, count),
                     transposed_times<kUpper>(dscores_.from(rows, first), read_.from(rows), p_.erase ? count : 0));
    }
    write_keys(kept, t, count, rows);
    if (this->x_.bonus) bonus(t, count);
    through_state(kept, c, t, rows, stack);
  }

  // From dS after the chunk to dS before it; where a gradient of gates per key starts anew, it does in between.
  void through_state(const Kept& kept, int64_t c, int64_t t, int64_t rows, int64_t stack) {
    const bool anchors = kGate == kPerKey && (c == 0 || this->clears(t));
    const float* first = anchors ? this->ones_ : kept.start;
    const float* then = anchors || c == 0 ? this->ones_ : this->kept(c - 1).end;
    const auto add_reads = [&] {
      multiply<kGated ? kScaledRows : kAdd>(ahead_, round_up(p_.K, 4), V_, {dstate_, dstate_, first, then},
                                            transposed_times(read_, doutput_, stack));
    };
    if (!anchors) return add_reads();
    // What the first token reads before its decay has no part in the gradient of that decay.
    const int64_t undecayed[] = {p_.read_before ? 0 : -1, p_.erase && p_.undecayed ? rows : -1};
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
    scale_rows(kept.start);
    if (c > 0) scale_rows(this->kept(c - 1).end);
  }

  // o += scale (q . (bonus k)) v.
  void bonus(int64_t t, int64_t count) {
    for (int64_t c = 0; c < count; c++) {
      const int64_t at = this->begin_ + t + c, key = place(t + c) * p_.K, value = place(t + c) * p_.V;
      const float *q = this->x_.q[at], *k = this->x_.k[at], *v = this->x_.v[at], *doutput = doutput_[c];
      const auto row = [&](const float* x, int64_t i) { return load_row(x, i, p_.K); };
      const auto add = [&](float* to, int64_t i, int64_t n, Vec x) { store_row(to, i, n, load_row(to, i, n) + x); };
      Vec weights{}, products{};
      for (int64_t i = 0; i < p_.K; i += kLanes) weights += row(q, i) * row(k, i) * row(this->x_.bonus, i);
      for (int64_t i = 0; i < p_.V; i += kLanes) products += load(doutput + i) * load_row(v, i, p_.V);
      const Vec y = splat(sum(weights) * p_.scale), dy = splat(sum(products) * p_.scale);
      for (int64_t i = 0; i < p_.V; i += kLanes) add(args_.dv + value, i, p_.V, y * load(doutput + i));
      for (int64_t i = 0; i < p_.K; i += kLanes) {
        add(args_.dq + key, i, p_.K, dy * row(this->x_.bonus, i) * row(k, i));
        add(args_.dk + key, i, p_.K, dy * row(this->x_.bonus, i) * row(q, i));
        add(dbonus_, i, p_.K, dy * row(q, i) * row(k, i));
      }
    }
  }

  // dgate of a chunk's tokens, before dread and dwrite have what goes through the scores R = [Q'; E'] W'^T:
  //   dgate_t = S . D + sum_{i >= t} [Q'; E']_i . [dq; de]_i + sum_{j < t} W'_j . dw_j + sum_{j < t <= i} R_ij dR_ij
  // The next chunk's first dgate is S . D with all terms j, which would cancel in S . D after a strong decay.
  __attribute__((noinline)) void cross(const Kept& kept, int64_t c, int64_t count, int64_t rows) {
    constexpr int kVectors = kChunk / kLanes;
    Vec before[kVectors], all{};
    each<kVectors>([&](auto n) {
      Vec even{}, odd{};
      const Rows write = write_turned_.from(0, n * kLanes), dwrite = dwrite_turned_.from(0, n * kLanes);
      const auto product = [&](int64_t i) { return load(write[i]) * load(dwrite[i]); };
      for (int64_t i = 0; i < K_; i += 2) even += product(i), odd += product(i + 1);
      all += before[n] = even + odd;
    });
    Vec after = load(first_dgate_) - all;
    if (kept.start[0] * kept.end[0] < kStrongDecay) {
      anchor(state_before(c));
      after = anchored();
    }
    const auto through = [&](int64_t t, int64_t row) {
      each<kVectors>([&](auto n) {
        const int64_t i = n * kLanes;
        before[n] = fma(load(scores_[row + t] + i), load(dscores_[row + t] + i), before[n]);
      });
    };
    for (int64_t t = rows - 1; t >= 0; t--) {
      Vec read{}, erased{};
      for (int64_t i = 0; i < K_; i += kLanes) {
        read = fma(load(read_[t] + i), load(dread_[t] + i), read);
        if (p_.erase) erased = fma(load(read_[rows + t] + i), load(dread_[rows + t] + i), erased);
      }
      if (!p_.read_before) after += read, through(t, 0);
      if (p_.erase && !p_.undecayed) after += erased, through(t, rows);
      Vec dgate = after;
      each<kVectors>([&](auto n) { dgate += keep_columns(before[n], n * kLanes, t - 1); });
      store(parts_ + t * kLanes, dgate);
      if (p_.read_before) after += read, through(t, 0);
      if (p_.undecayed) after += erased, through(t, rows);
    }
    store(first_dgate_, after);
    sum_vectors(this->sums_, parts_, kChunk);
    for (int64_t t = 0; t < count; t++) args_.dgate[place(this->start_of(c) + t)] = this->sums_[t];
  }

  // Q' S + tril(Q' W'^T) N, made in columns, as which S lies in memory.
  void read(int64_t t, int64_t count, Rows state) {
    transpose(read_turned_, read_, kChunk, K_);
    transpose(scores_turned_, scores_, kChunk, kChunk);
    multiply<kStore>(ahead_, V_, kChunk, {output_turned_}, times(state, read_turned_, p_.K),
                     times(written_turned_, scores_turned_, count));
    transpose(output_, output_turned_, V_, kChunk);
    unstage_rows(args_.dq + place(t) * p_.V, p_.heads * p_.V, output_.data, output_.stride, count, p_.V);
  }

  // dq, dk and their like, and dgate per key. A token at a time: the rows of tokens may all fall on the same sets of
  // the first-level cache.
  void write_keys(const Kept& kept, int64_t t, int64_t count, int64_t rows) {
    for (int64_t c = count - 1; c >= 0; c--) {
      int64_t i = 0;
      for (; i + kLanes <= p_.K; i += kLanes) write_key_columns<true>(kept, t, c, rows, i);
      if (i < p_.K) write_key_columns<false>(kept, t, c, rows, i);
    }
  }

  // Keys i ... of token t + c, a whole vector of them or not.
  template <bool kWhole>
  __attribute__((always_inline)) void write_key_columns(const Kept& kept, int64_t t, int64_t c, int64_t rows,
                                                        int64_t i) {
    const bool own_erase = args_.deraseKey.data, own_write = args_.dwriteKey.data;
    const int64_t to = place(t + c) * p_.K, second = kChunk + c;
    const auto put = [&](float* rows, Vec x) {
      return kWhole ? store(rows + to + i, x) : store_row(rows + to, i, p_.K, x);
    };
    const Vec dread = load(dread_[c] + i), dwrite = load(dwrite_[c] + i);
    const Vec derase = p_.erase ? load(dread_[rows + c] + i) : Vec{};
    const Vec dsecond = p_.second_write ? load(dwrite_[second] + i) : Vec{};
    if (kGate == kPerKey) {
      Vec dgate = load(dgate_ + i);
      const auto add_read = [&] { dgate = fma(load(read_[c] + i), dread, dgate); };
      const auto add_erase = [&] { dgate = fma(load(read_[rows + c] + i), derase, dgate); };
      if (!p_.read_before) add_read();
      if (p_.erase && !p_.undecayed) add_erase();
      dgate -= load(kept.write[c] + i) * dwrite;
      if (p_.second_write) dgate -= load(kept.write[second] + i) * dsecond;
      put(args_.dgate, dgate);
      if (p_.read_before) add_read();
      if (p_.erase && p_.undecayed) add_erase();
      store(dgate_ + i, dgate);
    }
    const Vec shrink = Errors::factor(kept.shrink, c, i, K_);
    const Vec erase = derase * this->erase_factor(kept, c, i), write = dwrite * shrink;
    Vec key = own_erase ? (own_write ? Vec{} : write) : own_write ? erase : erase + write;
    if (p_.second_write) key = fma(dsecond, shrink, key);
    if (!p_.exchanged) put(args_.dq, dread * this->read_factor(kept, c, i) * splat(p_.scale));
    put(args_.dk, key);
    if (own_erase) put(args_.deraseKey, erase);
    if (own_write) put(args_.dwriteKey, write);
  }

  static constexpr float kStrongDecay = 0.1f;

  Rows dread_, dwrite_, dscores_;  // stacked like read_, like what is written, and like the scores
  Rows dwrite_turned_, write_turned_, written_turned_;
  Rows read_turned_, scores_turned_, output_, output_turned_;  // of exchanged keys and values
  float *dgate_, *first_dgate_;  // the latter in lanes yet to be summed
  float *dbonus_, *first_read_;
};

FW_NAMESPACE_END
