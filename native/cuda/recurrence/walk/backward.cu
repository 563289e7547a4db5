// The backward pass in bfloat16: its groups, and which calls it takes.
#include "backward.cuh"
#include "../ways.h"
#include "calls.cuh"

namespace fw::cuda {

template <int K>
bool takes_bfloat16(const recurrenceBackwardArgs& args) {
  return walk::takes_operands<K>(args) && walk::takes_trace(args);
}

template <int K>
void backward_bfloat16(const Context& cx, const recurrenceBackwardArgs& args) {
  using namespace walk;
  Problem p = with_chunks(cx, decode(args), args.offsets, args.tokens, args.checkpointEvery, kTokens);
  p.right = contiguous(args.doutput, p.heads, p.V);
  Trace trace{};
  trace.tiles = (p.V + 63) / 64;
  const int64_t dstates = trace.dstate_elements(K), dwritten = p.erase ? trace.dwritten_elements() : 0;
  const int64_t bytes = static_cast<int64_t>(sizeof(Scores)) + 2 * (dstates + dwritten);
  const int64_t at_once = chunks_at_once(cx, p, p.heads * bytes), count = at_once * p.heads;
  trace.scores = cx.scratch_of<Scores>(count);
  trace.dstates = cx.scratch_of<uint16_t>(count * dstates), trace.dwritten = cx.scratch_of<uint16_t>(count * dwritten);
  each_group(cx, p, at_once, Direction::kBack, [&](const Problem& group, int64_t sequences, const Carry& carry) {
    if (p.chunks > 0) prepare<K>(cx, group, trace.scores, Direction::kBack);
    walk_back<K>(cx, args, group, trace, sequences, carry);
    if (p.chunks > 0) gradients<K>(cx, args, group, trace);
  });
}

template bool takes_bfloat16<64>(const recurrenceBackwardArgs&);
template bool takes_bfloat16<128>(const recurrenceBackwardArgs&);
template void backward_bfloat16<64>(const Context&, const recurrenceBackwardArgs&);
template void backward_bfloat16<128>(const Context&, const recurrenceBackwardArgs&);

}  // namespace fw::cuda
