// The backward pass, for as many heads at a time as scratch memory is granted for.
#include <algorithm>

#include "backward.cuh"
#include "ways.h"

namespace fw::cuda {
namespace {

// Gradients of what was read beside a normaliser, from those of the output: [all tokens, heads, V], a warp for each token
// and head. What comes to m is that of eps: neither e^m S nor e^m e^-m changes with it.
struct DivideBackward {
  static constexpr int kThreads = 256;
  struct Args {
    Problem p;
    InMaybe sums, output;
    In doutput;
    OutMaybe dmax;
    float* dread;
    int64_t rows;
  };
  struct Shared {};
  static FW_DEVICE void run(const Args& args, Shared&) {
    const Problem& p = args.p;
    const int64_t at = block() * (kThreads / kWarp) + warp();
    if (at >= args.rows) return;
    const float sum = load(args.sums, at), d = divisor(p, at, sum);
    float product = 0;
    for (int i = lane(); i < p.values; i += kWarp) {
      const float dread = load(args.doutput, at * p.values + i) / d;
      product += dread * load(args.output, at * p.values + i);
      args.dread[at * p.V + i] = dread;
    }
    const float ddivisor = -warpSum(product);
    if (lane() > 0) return;
    args.dread[at * p.V + p.values] = fabsf(sum) <= least_size(p, at) ? 0.0f : sum < 0 ? -ddivisor : ddivisor;
    store(args.dmax, at, p.eps * ddivisor);
  }
};

}  // namespace

void backward_exact(const Context& cx, const recurrenceBackwardArgs& args) {
  Problem p = with_chunks(cx, decode_sequences(args), args.offsets, args.tokens, args.checkpointEvery);
  p.right = contiguous(args.doutput, p.heads, p.exchanged ? p.K : p.V);
  if (p.max.data) {
    const int64_t rows = args.tokens * (args.offsets.data ? 1 : p.sequences) * p.heads;
    constexpr int64_t kEach = DivideBackward::kThreads / kWarp;
    float* const dread = cx.scratch_of<float>(rows * p.V);
    launch<DivideBackward>(cx, (rows + kEach - 1) / kEach,
                           {p, args.sums, args.output, args.doutput, args.dmax, dread, rows});
    p.right = contiguous({dread, kFloat32, rows * p.V}, p.heads, p.V);
  }
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
