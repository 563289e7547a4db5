// The backward pass, for as many heads at a time as scratch memory is granted for.
#include <algorithm>

#include "backward.cuh"

namespace fw::cuda {
namespace {

constexpr int64_t kScratchBytes = int64_t(512) << 20;

// A gradient [all tokens, heads, width] as an operand.
Heads contiguous(const In& x, int64_t heads, int64_t width) {
  Heads y;
  y.data = static_cast<const float*>(x.data), y.dtype = x.dtype;
  y.token = heads * width, y.head = width, y.count = heads;
  return y;
}

}  // namespace

void recurrenceBackward(const Context& cx, const recurrenceBackwardArgs& args) {
  Problem p = with_chunks(cx, decode(args), args.offsets, args.tokens, args.checkpointEvery);
  p.right = contiguous(args.doutput, p.heads, p.exchanged ? p.K : p.V);
  if (p.exchanged) {
    p.left = p.right, p.right = p.q;
  }
  const Parts parts = Parts::of(p);
  const int64_t head_floats = p.chunks * parts.blocks * parts.size;
  const int64_t at_once = std::max<int64_t>(1, std::min(p.heads, kScratchBytes / 4 / std::max<int64_t>(1, head_floats)));
  float* const memory = cx.scratch_of<float>(at_once * head_floats);
  for (p.firstHead = 0; p.firstHead < p.heads; p.firstHead += at_once) {
    p.groupHeads = std::min(at_once, p.heads - p.firstHead);
    backward_values(cx, args, p, pair_scores(cx, p), memory);
    backward_keys(cx, args, p, memory);
  }
}

}  // namespace fw::cuda
