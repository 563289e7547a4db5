// What the kernels of the recurrence share: the decoded arguments and the chunks of `size` tokens, most often kChunk, into
// which every sequence is divided from its own start, so that a sequence never depends on what it is batched with.
//
// The gradient of a state gains left right^T from the read of a token: `left` runs over keys and `right` over values. Of
// the output o = scale S^T q, left is scale q and right the gradient of o; exchanged, o = scale S q, it is the other way
// round, and the forward pass has no left.
#pragma once
#include <stdexcept>
#include <string>

#include "../flat.cuh"
#include "../operand.cuh"

namespace fw::cuda {

constexpr int kChunk = 16, kMostKeys = 256;

struct Problem {
  Heads q, k, v, gate, beta, eraseKey, writeKey, left, right;
  InMaybe bonus, initialState, max;
  const int32_t* offsets;      // of packed sequences, else null
  const int32_t* first_chunk;  // [sequences + 1], likewise
  const int32_t* first_checkpoint;  // likewise
  int64_t sequences, tokens, heads, chunks;  // tokens of each sequence, or of all when packed; chunks: at most
  int64_t firstHead, groupHeads;             // the heads that are worked on at a time,
  int64_t firstChunk, groupChunks;           // or the chunks, counted over all sequences
  int K, V, gateWidth, betaWidth, every;  // every: tokens from one checkpoint to the next
  int values;  // of V those in v and the output: all but a normaliser, which is 1 in every token
  float leftScale, scale, eps;
  bool erase, undecayed, secondWrite, readBefore, exchanged;
};

template <class Args>
Problem decode(const Args& args) {
  if (args.keyDim > kMostKeys) {
    throw Unsupported("a recurrence on a card has a state of at most " + std::to_string(kMostKeys) +
                      (args.exchanged ? " values" : " keys") + " per head, got " + std::to_string(args.keyDim));
  }
  require_known("recurrence", "eraseFrom", args.eraseFrom, kEraseUndecayed + 1);
  Problem p{};
  p.q = args.q, p.k = args.k, p.v = args.v, p.gate = args.gate, p.beta = args.beta;
  p.eraseKey = args.eraseKey.data ? static_cast<const Heads&>(args.eraseKey) : args.k;
  p.writeKey = args.writeKey.data ? static_cast<const Heads&>(args.writeKey) : args.k;
  p.left = args.q, p.leftScale = p.scale = static_cast<float>(args.scale);
  p.bonus = args.bonus;
  p.sequences = args.sequences, p.heads = p.groupHeads = args.heads;
  p.K = static_cast<int>(args.keyDim), p.V = p.values = static_cast<int>(args.valueDim);
  p.gateWidth = static_cast<int>(args.gateWidth), p.betaWidth = static_cast<int>(args.betaWidth);
  p.erase = args.eraseFrom != kEraseNone, p.undecayed = args.eraseFrom == kEraseUndecayed;
  p.secondWrite = args.secondWrite != 0, p.readBefore = args.readBefore != 0, p.exchanged = args.exchanged != 0;
  return p;
}

// The same of whole sequences, which may have a normaliser.
template <class Args>
Problem decode_sequences(const Args& args) {
  Problem p = decode(args);
  if (!args.max.data) return p;
  p.max = args.max, p.values = p.V - 1, p.eps = static_cast<float>(args.eps);
  return p;
}

// What is read beside a normaliser is divided by max(|s|, e^-m) + eps, s being what is read of it; `at` counts tokens and
// heads.
FW_DEVICE float least_size(const Problem& p, int64_t at) { return expf(-fmaxf(kLeastMax, load(p.max, at))); }
FW_DEVICE float divisor(const Problem& p, int64_t at, float sum) { return fmaxf(fabsf(sum), least_size(p, at)) + p.eps; }

// The tokens of one chunk among all tokens; `index` counts the chunks of all sequences.
struct Chunk {
  int64_t sequence, begin, index;
  int count;
};

template <int size = kChunk>
FW_DEVICE int64_t chunks_of(int64_t tokens) {
  return (tokens + size - 1) / size;
}

// Sequence n: its first token, its length, and its first chunk.
struct Sequence {
  int64_t begin, length, chunk;
};
template <int size = kChunk>
FW_DEVICE Sequence sequence_at(const Problem& p, int64_t n) {
  if (!p.offsets) return {n * p.tokens, p.tokens, n * chunks_of<size>(p.tokens)};
  return {p.offsets[n], p.offsets[n + 1] - p.offsets[n], p.first_chunk[n]};
}

// Where checkpoint c of sequence n stands among those of all sequences.
FW_DEVICE int64_t checkpoint_row(const Problem& p, int64_t n, int64_t c) {
  return (p.offsets ? p.first_checkpoint[n] : n * ((p.tokens + p.every - 1) / p.every)) + c;
}

template <int size = kChunk>
FW_DEVICE Chunk chunk_of(const Sequence& sequence, int64_t n, int64_t c) {
  const int64_t left = sequence.length - c * size;
  return {n, sequence.begin + c * size, sequence.chunk + c, static_cast<int>(left < size ? left : size)};
}

// Where the results of a chunk and a head stand in scratch memory.
FW_DEVICE int64_t place_of(const Problem& p, const Chunk& chunk, int64_t h) {
  return (chunk.index - p.firstChunk) * p.groupHeads + h - p.firstHead;
}

// The last n of `count` with first_of(n) <= index, where first_of never falls and first_of(0) is 0.
template <class First>
FW_DEVICE int64_t last_from(int64_t count, int64_t index, const First& first_of) {
  int64_t low = 0, high = count;
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    if (first_of(middle) <= index) low = middle;
    else high = middle;
  }
  return low;
}

// The chunk at a place among those of all sequences; count 0 beyond the last.
template <int size = kChunk>
FW_DEVICE Chunk chunk_at(const Problem& p, int64_t index) {
  if (!p.offsets) {
    const Division at = divide(index, chunks_of<size>(p.tokens));
    return chunk_of<size>(sequence_at<size>(p, at.quotient), at.quotient, at.rest);
  }
  if (index >= p.first_chunk[p.sequences]) return {0, 0, 0, 0};
  // Empty sequences share their first chunk with the next one; this is the last that begins here, so it has some.
  const int64_t n = last_from(p.sequences, index, [&](int64_t of) { return p.first_chunk[of]; });
  return chunk_of<size>(sequence_at<size>(p, n), n, index - p.first_chunk[n]);
}

FW_DEVICE float gate_at(const Problem& p, int64_t token, int64_t h, int i) {
  return p.gateWidth == 0 ? 0.0f : load(p.gate, token, h, p.heads, p.gateWidth == 1 ? 0 : i);
}
FW_DEVICE float beta_at(const Problem& p, int64_t token, int64_t h, int j) {
  return p.betaWidth == 0 ? 1.0f : load(p.beta, token, h, p.heads, p.betaWidth == 1 ? 0 : j);
}

FW_DEVICE float value_at(const Problem& p, int64_t token, int64_t h, int j) {
  return j < p.values ? load(p.v, token, h, p.heads, j) : 1.0f;
}

FW_HOST_DEVICE constexpr int round_up(int n, int to) { return (n + to - 1) / to * to; }

// A gradient [all tokens, heads, width] as an operand.
inline Heads contiguous(const In& x, int64_t heads, int64_t width) {
  Heads y;
  y.data = static_cast<const float*>(x.data), y.dtype = x.dtype;
  y.token = heads * width, y.head = width, y.count = heads;
  return y;
}

// Fills in what depends on where the chunks lie. `every` as in the arguments.
Problem with_chunks(const Context& cx, Problem p, const InMaybe& offsets, int64_t tokens, int64_t every,
                    int size = kChunk);

// How many pieces of `size` tokens the sequences before each have, [sequences + 1], in the card's memory. Those of at most
// `whole` tokens count none, and the others `less` fewer.
const int32_t* first_pieces(const Context& cx, const Problem& p, int size, int whole = 0, int less = 0);

// Scores of the pairs of tokens of the chunks and heads of the group (pairs.cu), [chunks, heads, kPairFloats]: matrices
// [kChunk, kChunk], row t and column j, zero where j may not act on t, and the weight of the bonus per token.
enum PairMatrix { kRead, kErase, kReadSecond, kEraseSecond, kEraseLow, kPairMatrices };
constexpr int kPairFloats = kPairMatrices * kChunk * kChunk + kChunk;
void pair_scores(const Context& cx, const Problem& p, float* scores);

}  // namespace fw::cuda
