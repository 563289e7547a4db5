// The backward pass in bfloat16 with a gate for every key: its groups, and which calls it takes.
#include "backward_faded.cuh"

#include "../ways.h"
#include "calls.cuh"

namespace fw::cuda {

template <int K>
bool takes_vector_gates(const recurrenceBackwardArgs& args) {
  return walk::takes_rows<K>(args) && walk::takes_trace(args) && args.gateWidth == K && walk::aligned(args.gate);
}

template <int K>
void backward_vector_gates(const Context& cx, const recurrenceBackwardArgs& args) {
  using namespace walk;
  Problem p = with_chunks(cx, decode(args), args.offsets, args.tokens, args.checkpointEvery, kTokens);
  p.right = contiguous(args.doutput, p.heads, p.V);
  Trace trace{};
  trace.tiles = (p.V + 63) / 64;
  const int64_t dstates = trace.dstate_elements(K), dwritten = p.erase ? trace.dwritten_elements() : 0;
  const int64_t bytes = 2 * (static_cast<int64_t>(sizeof(Faded<K>)) + dstates + dwritten);
  const int64_t at_once = chunks_at_once(cx, p, p.heads * bytes), count = at_once * p.heads;
  Faded<K>* const faded = cx.scratch_of<Faded<K>>(2 * count);
  trace.dstates = cx.scratch_of<uint16_t>(count * dstates), trace.dwritten = cx.scratch_of<uint16_t>(count * dwritten);
  each_group(cx, p, at_once, Direction::kBack, [&](const Problem& group, int64_t sequences, const Carry& carry) {
    if (p.chunks > 0) fade<K>(cx, group, faded, Direction::kBack);
    walk_back_faded<K>(cx, args, group, faded, trace, sequences, carry);
    if (p.chunks > 0) gradients_faded<K>(cx, args, group, trace);
  });
}

template bool takes_vector_gates<64>(const recurrenceBackwardArgs&);
template bool takes_vector_gates<128>(const recurrenceBackwardArgs&);
template void backward_vector_gates<64>(const Context&, const recurrenceBackwardArgs&);
template void backward_vector_gates<128>(const Context&, const recurrenceBackwardArgs&);

}  // namespace fw::cuda
