// The value of a normaliser in the backward pass in chunks (backward_chunk.h), where it would be alone in a vector
// behind the other values: products over those leave it out, here it is multiplied with keys or tokens in the lanes.
#pragma once
#include "chunk.h"

FW_NAMESPACE_BEGIN

// A vector whose first lane is x, for a row of values that ends with it: zeros follow.
FW_INLINE Vec alone(float x) {
  Vec y{};
  y[0] = x;
  return y;
}

// Its column of P, from that of D, which stays in x.dcolumn: without an erase P is dN.
static __attribute__((noinline)) void column_through_writes(const Pass& s, const Chunk& x) {
  constexpr int kVectors = kChunk / kLanes;
  float parts[kChunk * kLanes], products[kChunk];
  for (int64_t i = 0; i < s.K; i++) x.dcolumn[i] = x.dstate[i][s.columns];
  for (int64_t c = 0; c < kChunk; c++) {
    Vec product{};
    for (int64_t i = 0; i < s.K; i += kLanes) product = fma(load(x.write[c] + i), load(x.dcolumn + i), product);
    store(parts + c * kLanes, product);
  }
  sum_vectors(products, parts, kChunk);
  Vec derror[kVectors];
  each<kVectors>([&](auto n) { derror[n] = load(products + n * kLanes); });
  for (int64_t t = 0; t < x.count; t++) {
    const Vec doutput = splat(x.doutput[t][s.columns]);
    each<kVectors>([&](auto n) { derror[n] = fma(doutput, load(x.scores[t] + n * kLanes), derror[n]); });
  }
  each<kVectors>([&](auto n) { store(products + n * kLanes, derror[n]); });
  for (int64_t c = 0; c < x.count; c++) store(x.derror[c] + s.columns, alone(products[c]));
}

// Its column of D before the chunk, from the one in x.dcolumn.
static __attribute__((noinline)) void column_through_state(const Pass& s, const Chunk& x, bool continues) {
  for (int64_t i = 0; i < s.K; i += kLanes) {
    Vec d = load(x.dcolumn + i);
    for (int64_t t = 0; t < x.count; t++) d = fma(splat(x.doutput[t][s.columns]), load(x.read[t] + i), d);
    store(x.dcolumn + i, continues ? d : d * load(x.start + i) * load(x.before_end + i));
  }
  for (int64_t i = 0; i < s.p.K; i++) store(x.dbefore[i] + s.columns, alone(x.dcolumn[i]));
}

FW_NAMESPACE_END
