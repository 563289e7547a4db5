// The gradients of gates in the backward pass in chunks (backward_chunk.h). That of a gate per token and key is the
// next token's plus q dq + e de - w dw, where reads before the decay count for the tokens before; it starts from
// sum_v S D at the end of every segment between checkpoints and wherever a gate clears the state. In one gate per token
// these differences would cancel: it gets the sum of what was written before it and is read after it (relate_dgates).
#pragma once
#include "chunk_errors.h"

FW_NAMESPACE_BEGIN

// y[K] = sum over values of S D, from a state as they are kept and its gradient.
static void anchor(const Pass& s, Rows state, Rows dstate, float* y) {
  for (int64_t i = 0; i < s.K; i += kLanes) {
    Vec even{}, odd{};
    for (int64_t v = 0; v < s.V; v += kLanes) {
      Vec x[kLanes];
#pragma GCC unroll 16
      for (int r = 0; r < kLanes; r++) x[r] = load(dstate[i + r] + v);
      transpose(x);
#pragma GCC unroll 8
      for (int r = 0; r < kLanes; r += 2) {
        even = fma(x[r], load(state[v + r] + i), even);
        odd = fma(x[r + 1], load(state[v + r + 1] + i), odd);
      }
    }
    store(y + i, even + odd);
  }
}

// Their sum over keys, in lanes that are yet to be summed; and the same at a checkpoint.
static Vec anchored(const Pass& s, const float* anchor) {
  Vec total{};
  for (int64_t i = 0; i < s.K; i += kLanes) total += load(anchor + i);
  return total;
}
static Vec anchored(const Pass& s, const float* checkpoint, Rows dstate) {
  Vec total{};
  int64_t i = 0;
  const auto add_rows = [&](auto rows) {  // side by side, for a row's sum waits for itself
    for (; i + rows <= s.p.K; i += rows) {
      Vec sums[rows] = {};
      for (int64_t v = 0; v < s.V; v += kLanes)
        each<rows>([&](auto r) {
          sums[r] = fma(load(dstate[i + r] + v), load_row(checkpoint + (i + r) * s.p.V, v, s.p.V), sums[r]);
        });
      each<rows>([&](auto r) { total += sums[r]; });
    }
  };
  add_rows(Index<8>());
  add_rows(Index<1>());
  return total;
}

// Whether S . D of the next chunk with all that this one wrote would cancel in S . D.
static bool decays_strongly(const Pass& s, const Chunk& x) {
  float decay = 0;
  for (int64_t c = 0; c < x.count; c++) decay += s.x.gate[s.sequence.begin + x.t + c][0];
  return decay < -2.3f;
}

// dgate of a chunk's tokens, before dread and dwrite have what goes through the scores R = [Q'; E'] W'^T:
//   dgate_t = S . D + sum_{i >= t} [Q'; E']_i . [dq; de]_i + sum_{j < t} W'_j . dw_j + sum_{j < t <= i} R_ij dR_ij
// The next chunk's first dgate is S . D with all terms j. What is to be added to it comes to x.dgates, in lanes yet to
// be summed, a vector for each token and one for the chunk before; where it would cancel, the whole of them.
static __attribute__((noinline)) void relate_dgates(const Pass& s, const Chunk& x) {
  const Problem& p = s.p;
  constexpr int kVectors = kChunk / kLanes;
  Vec before[kVectors], all{};
  each<kVectors>([&](auto n) {
    Vec even{}, odd{};
    const Rows write = x.write_turned.from(0, n * kLanes), dwrite = x.dwrite_turned.from(0, n * kLanes);
    const auto product = [&](int64_t i) { return load(write[i]) * load(dwrite[i]); };
    for (int64_t i = 0; i < s.K; i += 2) even += product(i), odd += product(i + 1);
    all += before[n] = even + odd;
  });
  Vec after = -all;
  if (decays_strongly(s, x)) {
    anchor(s, x.state, x.dstate, x.anchor);
    after = anchored(s, x.anchor);
  }
  const auto through = [&](Rows scores, Rows dscores, int64_t t) {
    each<kVectors>([&](auto n) {
      const int64_t i = n * kLanes;
      before[n] = fma(load(scores[t] + i), load(dscores[t] + i), before[n]);
    });
  };
  const auto add_read = [&](int64_t t, Vec read) { after += read, through(x.scores, x.dscores, t); };
  const auto add_erased = [&](int64_t t, Vec read) {
    after += read, through(x.erased(x.scores), x.erased(x.dscores), t);
  };
  for (int64_t t = x.rows - 1; t >= 0; t--) {
    Vec reading{}, erasing{};
    for (int64_t i = 0; i < s.K; i += kLanes) {
      reading = fma(load(x.read[t] + i), load(x.dread[t] + i), reading);
      if (p.erase) erasing = fma(load(x.erased(x.read)[t] + i), load(x.erased(x.dread)[t] + i), erasing);
    }
    if (!p.read_before) add_read(t, reading);
    if (p.erase && !p.undecayed) add_erased(t, erasing);
    Vec dgate = after;
    each<kVectors>([&](auto n) { dgate += keep_columns(before[n], n * kLanes, t - 1); });
    store(x.dgates + t * kLanes, dgate);
    if (p.read_before) add_read(t, reading);
    if (p.undecayed) add_erased(t, erasing);
  }
  store(x.dgates + kChunk * kLanes, after);
}

// Writes them, from the first dgate of the next chunk, which becomes that of this one.
static void write_dgates(const Pass& s, const Chunk& x, float* next) {
  const Vec first = decays_strongly(s, x) ? Vec{} : load(next);
  float parts[kChunk * kLanes], sums[kChunk];
  for (int64_t c = 0; c < kChunk; c++) {
    const Vec own = c < x.count ? load(x.dgates + c * kLanes) : Vec{};
    store(parts + c * kLanes, first + own);
  }
  sum_vectors(sums, parts, kChunk);
  for (int64_t c = 0; c < x.count; c++) s.args.dgate[s.place(x.t + c)] = sums[c];
  store(next, first + load(x.dgates + kChunk * kLanes));
}

FW_NAMESPACE_END
