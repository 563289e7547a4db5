// What the recurrence, its backward pass and its single step have in common: the decoded arguments, where a sequence
// lies among all tokens, and many rows at a time.
#pragma once
#include <string.h>

#include "../arena.h"

FW_NAMESPACE_BEGIN

// Tokens of a chunk of the backward pass.
constexpr int64_t kChunk = 16;

struct Problem {
  Heads q, k, v, gate, beta, erase_key, write_key;  // the keys default to k
  const float *bonus, *max;  // max only with a normaliser
  int64_t sequences, heads, K, V, gate_width, beta_width;
  int64_t values;  // of V those in v and the output: all but a normaliser
  float scale, eps;
  bool erase, undecayed, second_write, read_before, exchanged;
};

template <class Args>
static Problem decode(const Args& args) {
  Problem p;
  p.q = args.q, p.k = args.k, p.v = args.v, p.gate = args.gate, p.beta = args.beta;
  p.erase_key = args.eraseKey.data ? static_cast<const Heads&>(args.eraseKey) : args.k;
  p.write_key = args.writeKey.data ? static_cast<const Heads&>(args.writeKey) : args.k;
  p.bonus = args.bonus, p.max = nullptr, p.eps = 0;
  p.sequences = args.sequences, p.heads = args.heads, p.K = args.keyDim, p.V = p.values = args.valueDim;
  p.gate_width = args.gateWidth, p.beta_width = args.betaWidth;
  p.scale = static_cast<float>(args.scale);
  p.erase = args.eraseFrom != kEraseNone, p.undecayed = args.eraseFrom == kEraseUndecayed;
  p.second_write = args.secondWrite != 0, p.read_before = args.readBefore != 0, p.exchanged = args.exchanged != 0;
  return p;
}

// The same of whole sequences, which may have a normaliser.
template <class Args>
static Problem decode_sequences(const Args& args) {
  Problem p = decode(args);
  if (!args.max.data) return p;
  p.max = args.max, p.values = p.V - 1, p.eps = static_cast<float>(args.eps);
  return p;
}

// One head's rows of an operand: row t is token t of all tokens.
struct TokenRows {
  const float* data;
  int64_t stride;
  const float* operator[](int64_t t) const { return data + t * stride; }
};

struct Head {
  TokenRows q, k, v, gate, beta, erase_key, write_key;
  const float* bonus;
};

static inline Head head_of(const Problem& p, int64_t h) {
  const auto rows = [&](const Heads& x) { return x.data ? TokenRows{x.at(0, h, p.heads), x.token} : TokenRows{}; };
  return {rows(p.q),    rows(p.k),         rows(p.v),         rows(p.gate),
          rows(p.beta), rows(p.erase_key), rows(p.write_key), p.bonus ? p.bonus + h * p.K : nullptr};
}

// Tokens [begin, begin + length) of all tokens; its checkpoints start at row `checkpoint` of states.
struct Sequence {
  int64_t begin, length, checkpoint;
};

// All sequences of a call. Where those of packed ones have their checkpoints is counted once, into scratch memory 3.
class Sequences {
 public:
  template <class Args>
  Sequences(const Context& cx, const Args& args)
      : offsets_(args.offsets.ints()), tokens_(args.tokens), every_(args.checkpointEvery) {
    if (!offsets_) return;
    checkpoints_ = static_cast<int64_t*>(cx.scratch(3, (args.sequences + 1) * int64_t(sizeof(int64_t))));
    int64_t checkpoint = 0;
    for (int64_t n = 0; n < args.sequences; n++) {
      checkpoints_[n] = checkpoint;
      checkpoint += checkpoints_of(offsets_[n + 1] - offsets_[n]);
    }
  }

  Sequence at(int64_t n) const {
    if (!offsets_) return {n * tokens_, tokens_, n * checkpoints_of(tokens_)};
    return {offsets_[n], offsets_[n + 1] - offsets_[n], checkpoints_[n]};
  }

 private:
  int64_t checkpoints_of(int64_t length) const { return (length + every_ - 1) / every_; }

  const int32_t* offsets_;
  int64_t tokens_, every_;
  int64_t* checkpoints_ = nullptr;
};

FW_INLINE void scale_row(float* y, int64_t padded, float factor) {
  for (int64_t i = 0; i < padded; i += kLanes) store(y + i, load(y + i) * splat(factor));
}
// [rows, n] at any stride, into or out of rows of `padded` elements.
static inline void stage_rows(float* y, int64_t padded, const float* x, int64_t stride, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; r++) stage_row(y + r * padded, x + r * stride, n, padded);
}
static inline void unstage_rows(float* y, int64_t stride, const float* x, int64_t padded, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; r++)
    for (int64_t i = 0; i < n; i += kLanes) store_row(y + r * stride, i, n, load(x + r * padded + i));
}

FW_NAMESPACE_END
