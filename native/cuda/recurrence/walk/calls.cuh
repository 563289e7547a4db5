// Which calls the kernels in bfloat16 take, and how large their blocks are.
#pragma once
#include "tile.cuh"

namespace fw::cuda::walk {

// Rows as whole pieces of 16 bytes.
inline bool aligned(const Heads& x) {
  return reinterpret_cast<uintptr_t>(x.data) % 16 == 0 && x.token % kPiece == 0 && x.head % kPiece == 0;
}
inline bool in_pieces(const Heads& x) { return x.dtype == kBfloat16 && aligned(x); }

// Of the forward pass or the backward pass: operands in bfloat16, K keys, a state kept every kTokens tokens if at all, no
// rule beyond linear attention and the delta rule, whatever their gates.
template <int K, class Args>
bool takes_rows(const Args& args) {
  const bool keys = args.keyDim == K && args.valueDim > 0 && args.valueDim % kPiece == 0;
  const bool operands = in_pieces(args.q) && in_pieces(args.k) && in_pieces(args.v);
  const bool writes = args.eraseFrom == kEraseDecayed ? args.betaWidth <= 1
                                                      : args.eraseFrom == kEraseNone && args.betaWidth == 0;
  const bool plain = !args.eraseKey.data && !args.writeKey.data && !args.bonus.data && !args.max.data && !args.secondWrite &&
                     !args.readBefore && !args.exchanged;
  return keys && operands && writes && plain && args.checkpointEvery == kTokens;
}
// Those with at most a gate per head.
template <int K, class Args>
bool takes_operands(const Args& args) {
  return takes_rows<K>(args) && args.gateWidth <= 1;
}
// What the forward pass leaves.
inline bool takes_results(const recurrenceArgs& args) {
  return args.output.dtype == kBfloat16 && args.finalState.dtype == kFloat32 && args.states.dtype == kFloat32 &&
         args.written.dtype == kFloat32;
}

// What the backward pass has of it, and the gradient of its output.
inline bool takes_trace(const recurrenceBackwardArgs& args) {
  const auto aligned = [](const In& x, DType dtype) {
    return x.dtype == dtype && reinterpret_cast<uintptr_t>(x.data) % 16 == 0;
  };
  return aligned(args.doutput, kBfloat16) && aligned(args.states, kFloat32) && aligned(args.written, kFloat32);
}

// Blocks that hold all values of a sequence's head.
template <class Kernel>
int64_t blocks_of(const Problem& p) {
  return (p.V + Kernel::kValues - 1) / Kernel::kValues;
}

// Whether warps share their copies: where their blocks are enough for the card and it has room for them; else more blocks.
template <class Wide, class Narrow>
bool is_wide(const Context& cx, const Problem& p, int64_t sequences) {
  const bool fits = static_cast<int64_t>(sizeof(typename Wide::Shared)) <= cx.most_shared;
  const bool fills = 2 * sequences * p.heads * blocks_of<Wide>(p) > cx.multiprocessors;
  return p.V > Narrow::kValues && fits && fills;
}

}  // namespace fw::cuda::walk
