// The backward pass of the recurrence, sequences x heads in parallel: in chunks where the rule allows it.
#include "backward_chunk.h"
#include "backward_token.h"

FW_NAMESPACE_BEGIN

void recurrenceBackward(const Context& cx, const recurrenceBackwardArgs& args) {
  const Problem p = decode(args);
  parallel(cx, p.sequences * p.heads, [&](int64_t task) {
    const int64_t n = task / p.heads, h = task % p.heads;
    const Sequence sequence = sequence_at(args.offsets.ints(), args.tokens, args.checkpointEvery, n);
    if (!args.recurrent && ChunkBackward::covers(p)) return ChunkBackward(cx, args, p, h).run(sequence, n);
    TokenBackward(cx, args, p).run(sequence, n, h);
  });
}

FW_NAMESPACE_END
