// The backward pass, for as many heads at a time as scratch memory is granted for.
#include <algorithm>

#include "backward.cuh"

namespace fw::cuda {
namespace {

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
  const int64_t scores = p.chunks * kPairFloats, all_parts = p.chunks * parts.blocks * parts.size,
                states = p.sequences * parts.blocks * state_floats(p), dbonus = args.dbonus.data ? p.chunks * p.K : 0;
  const int64_t head_bytes = 4 * (scores + all_parts + states + dbonus);
  const int64_t at_once =
      std::max<int64_t>(1, std::min(p.heads, cx.most_scratch / std::max<int64_t>(1, head_bytes)));
  const BackwardMemory memory = {cx.scratch_of<float>(at_once * scores), cx.scratch_of<float>(at_once * all_parts),
                                 cx.scratch_of<float>(at_once * states),
                                 args.dbonus.data ? cx.scratch_of<float>(at_once * dbonus) : nullptr};
  for (p.firstHead = 0; p.firstHead < p.heads; p.firstHead += at_once) {
    p.groupHeads = std::min(at_once, p.heads - p.firstHead);
    pair_scores(cx, p, memory.scores);
    backward_values(cx, args, p, memory);
    backward_keys(cx, args, p, memory);
  }
}

}  // namespace fw::cuda
