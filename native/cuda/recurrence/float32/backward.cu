// The backward pass in float32: its groups, and which calls it takes.
#include "backward.cuh"
#include "../ways.h"
#include "calls.cuh"

namespace fw::cuda {

template <int K>
bool takes_float32(const recurrenceBackwardArgs& args) {
  const auto in_pieces = [](const In& x) { return x.dtype == kFloat32 && float32::aligned(x.data); };
  return float32::takes_operands<K>(args) && in_pieces(args.doutput) && in_pieces(args.states) &&
         in_pieces(args.written);
}

template <int K>
void backward_float32(const Context& cx, const recurrenceBackwardArgs& args) {
  using namespace float32;
  Problem p = with_chunks(cx, decode(args), args.offsets, args.tokens, args.checkpointEvery, kTokens);
  p.right = contiguous(args.doutput, p.heads, p.V);
  const int64_t dstates = int64_t{K} * p.V, dwritten = p.erase ? int64_t{kTokens} * p.V : 0;
  const int64_t bytes = static_cast<int64_t>(sizeof(Scores)) + 4 * (dstates + dwritten);
  const int64_t at_once = chunks_at_once(cx, p, p.heads * bytes), count = at_once * p.heads;
  const Trace trace = {cx.scratch_of<Scores>(count), cx.scratch_of<float>(count * dstates),
                       cx.scratch_of<float>(count * dwritten)};
  each_group(cx, p, at_once, Direction::kBack, [&](const Problem& group, int64_t sequences, const Carry& carry) {
    if (p.chunks > 0) prepare<K>(cx, group, trace.scores, Direction::kBack);
    walk_back<K>(cx, args, group, trace, sequences, carry);
    if (p.chunks > 0) gradients<K>(cx, args, group, trace);
  });
}

template bool takes_float32<64>(const recurrenceBackwardArgs&);
template bool takes_float32<128>(const recurrenceBackwardArgs&);
template void backward_float32<64>(const Context&, const recurrenceBackwardArgs&);
template void backward_float32<128>(const Context&, const recurrenceBackwardArgs&);

}  // namespace fw::cuda
