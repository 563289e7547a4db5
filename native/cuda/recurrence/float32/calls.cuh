// Which calls the kernels in float32 take.
#pragma once
#include "tile.cuh"

namespace fw::cuda::float32 {

// Whole pieces of 16 bytes.
inline bool aligned(const void* data) { return reinterpret_cast<uintptr_t>(data) % 16 == 0; }
inline bool in_pieces(const Heads& x) {
  return x.dtype == kFloat32 && aligned(x.data) && x.token % kPiece == 0 && x.head % kPiece == 0;
}

// Of the forward pass or the backward pass: operands in float32, K keys, a state kept every second chunk if at all, no rule
// beyond linear attention and the delta rule, with at most a gate per head.
template <int K, class Args>
bool takes_operands(const Args& args) {
  const bool keys = args.keyDim == K && args.valueDim > 0 && args.valueDim % kPiece == 0;
  const bool operands = in_pieces(args.q) && in_pieces(args.k) && in_pieces(args.v);
  const bool writes = args.eraseFrom == kEraseDecayed ? args.betaWidth <= 1
                                                      : args.eraseFrom == kEraseNone && args.betaWidth == 0;
  const bool plain = !args.eraseKey.data && !args.writeKey.data && !args.bonus.data && !args.max.data &&
                     !args.secondWrite && !args.readBefore && !args.exchanged;
  return keys && operands && writes && plain && args.gateWidth <= 1 && args.checkpointEvery == 2 * kTokens;
}

}  // namespace fw::cuda::float32
