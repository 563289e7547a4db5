// The backward pass of the recurrence, sequences x heads in parallel: in chunks where the rule allows it. Where heads
// are fewer than threads, these share each of them out.
#include "backward_chunk.h"
#include "backward_token.h"

FW_NAMESPACE_BEGIN

static void backward_by_chunks(const Context& cx, Pass s, bool together) {
  const auto run = [&](auto alone, auto shared) { (together ? shared : alone)(cx, s); };
  if (s.p.gate_width == 0) return run(backward_alone<kUngated>, backward_together<kUngated>);
  if (s.p.gate_width == 1) return run(backward_alone<kPerToken>, backward_together<kPerToken>);
  run(backward_alone<kPerKey>, backward_together<kPerKey>);
}

void recurrenceBackward(const Context& cx, const recurrenceBackwardArgs& args) {
  const Problem p = decode_sequences(args);
  const Sequences sequences(cx, args);
  const int64_t tasks = p.sequences * p.heads;
  bool* together = static_cast<bool*>(cx.scratch(2, tasks));
  const auto pass = [&](int64_t task) {
    return Pass(args, p, sequences.at(task / p.heads), task / p.heads, task % p.heads);
  };
  parallel(cx, tasks, [&](int64_t task) {
    const Pass s = pass(task);
    const bool chunks = !args.recurrent && chunks_cover(p) && gates_invert(s);
    together[task] = chunks && tasks < cx.threads && s.sequence.length * p.K * p.V >= kLeastTogether;
    if (together[task]) return;
    if (chunks) return backward_by_chunks(cx, s, false);
    TokenBackward(cx, args, p).run(s.sequence, s.n, s.head);
  });
  for (int64_t task = 0; task < tasks; task++)
    if (together[task]) backward_by_chunks(cx, pass(task), true);
}

FW_NAMESPACE_END
