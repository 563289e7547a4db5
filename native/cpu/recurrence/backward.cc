// The backward pass of the recurrence, sequences x heads in parallel: in chunks where the rule allows it.
#include "backward_chunk.h"
#include "backward_token.h"

FW_NAMESPACE_BEGIN

static void chunk_backward(const Context& cx, const recurrenceBackwardArgs& args, const Problem& p, int64_t head,
                           const Sequence& sequence, int64_t n) {
  if (p.gate_width == 0) return ChunkBackward<kUngated>(cx, args, p, head).run(sequence, n);
  if (p.gate_width == 1) return ChunkBackward<kPerToken>(cx, args, p, head).run(sequence, n);
  ChunkBackward<kPerKey>(cx, args, p, head).run(sequence, n);
}

void recurrenceBackward(const Context& cx, const recurrenceBackwardArgs& args) {
  const Problem p = decode_sequences(args);
  const Sequences sequences(cx, args);
  parallel(cx, p.sequences * p.heads, [&](int64_t task) {
    const int64_t n = task / p.heads, h = task % p.heads;
    const Sequence sequence = sequences.at(n);
    if (!args.recurrent && chunks_cover(p) && gates_invert(p, h, sequence))
      return chunk_backward(cx, args, p, h, sequence, n);
    TokenBackward(cx, args, p).run(sequence, n, h);
  });
}

FW_NAMESPACE_END
