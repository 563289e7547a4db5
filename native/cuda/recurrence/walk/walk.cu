// The forward pass in bfloat16: which calls take it, and its launches.
#include "../ways.h"
#include "calls.cuh"
#include "walk.cuh"
#include "warpgroup_engine.cuh"

namespace fw::cuda {
namespace walk {
namespace {

template <class Kernel>
void start(const Context& cx, const recurrenceArgs& args, const Problem& p, const Scores* scores, const Cuts& cuts,
           int64_t segments, const Carry& carry) {
  launch<Kernel, kLargeSharedBytes>(cx, segments * p.heads * Kernel::blocks_for(p),
                                    {p, scores, cuts, args.output, args.finalState, args.states, args.written, carry});
}

template <int K, bool kMaps, class Engine>
void start_with(const Context& cx, const recurrenceArgs& args, const Problem& p, const Scores* scores, const Cuts& cuts,
                int64_t segments, const Carry& carry) {
  using Wide = Walk<K, 8, 2, kMaps, Engine>;
  using Narrow = Walk<K, 4, 1, kMaps, Engine>;
  const auto way = is_wide<Wide, Narrow>(cx, p, segments) ? start<Wide> : start<Narrow>;
  way(cx, args, p, scores, cuts, segments, carry);
}
template <int K, bool kMaps>
void start_walk(const Context& cx, const recurrenceArgs& args, const Problem& p, const Scores* scores, const Cuts& cuts,
                int64_t segments, const Carry& carry) {
  // Two small blocks have room beside each other where there is nothing to read: one multiplies while the other waits.
  if (!cx.has_warpgroups) start_with<K, kMaps, MmaEngine>(cx, args, p, scores, cuts, segments, carry);
  else if constexpr (kMaps) start<Walk<K, 4, 2, kMaps, WarpgroupEngine>>(cx, args, p, scores, cuts, segments, carry);
  else start_with<K, kMaps, WarpgroupEngine>(cx, args, p, scores, cuts, segments, carry);
}

}  // namespace
}  // namespace walk

template <int K>
bool takes_bfloat16(const recurrenceArgs& args) {
  return walk::takes_operands<K>(args) && walk::takes_results(args);
}

template <int K>
void forward_bfloat16(const Context& cx, const recurrenceArgs& args) {
  using namespace walk;
  Problem p = with_chunks(cx, decode(args), args.offsets, args.tokens, args.checkpointEvery, kTokens);
  p.initialState = args.initialState;
  const Cuts cuts = cuts_for(cx, p);
  const int64_t at_once = chunks_at_once(cx, p, p.heads * static_cast<int64_t>(sizeof(Scores)));
  Scores* const scores = cx.scratch_of<Scores>(at_once * p.heads);
  each_group(cx, p, at_once, Direction::kOn, [&](const Problem& group, int64_t sequences, const Carry& carry) {
    if (p.chunks > 0) prepare<K>(cx, group, scores, Direction::kOn);
    const int64_t count = p.offsets ? cuts.most : sequences * cuts.each;
    if (count > 0) {
      start_walk<K, true>(cx, args, group, scores, cuts, count, carry);
      join_segments<K>(cx, group, cuts, carry.firstSequence * cuts.each, count);
    }
    start_walk<K, false>(cx, args, group, scores, cuts, sequences + count, carry);
  });
}

template bool takes_bfloat16<64>(const recurrenceArgs&);
template bool takes_bfloat16<128>(const recurrenceArgs&);
template void forward_bfloat16<64>(const Context&, const recurrenceArgs&);
template void forward_bfloat16<128>(const Context&, const recurrenceArgs&);

}  // namespace fw::cuda
