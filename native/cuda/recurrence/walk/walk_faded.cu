// The forward pass in bfloat16 with a gate for every key: which calls take it, and its launches.
#include "walk_faded.cuh"

#include "../ways.h"
#include "calls.cuh"
#include "warpgroup_engine.cuh"

namespace fw::cuda {
namespace walk {
namespace {

template <class Kernel, int K>
void start(const Context& cx, const recurrenceArgs& args, const Problem& p, const Faded<K>* faded, int64_t sequences,
           const Carry& carry) {
  launch<Kernel, kLargeSharedBytes>(cx, sequences * p.heads * blocks_of<Kernel>(p),
                                    {p, faded, args.output, args.finalState, args.states, args.written, carry});
}

template <int K, bool kErases, class Engine, int kFewStages>
void start_with(const Context& cx, const recurrenceArgs& args, const Problem& p, const Faded<K>* faded,
                int64_t sequences, const Carry& carry) {
  using Wide = WalkFaded<K, 8, 2, kErases, Engine>;
  using Narrow = WalkFaded<K, 4, 2, kErases, Engine>;
  using Small = WalkFaded<K, 4, kFewStages, kErases, Engine>;  // for every card that has the engine
  const bool fits = static_cast<int64_t>(sizeof(typename Narrow::Shared)) <= cx.most_shared;
  const auto way = is_wide<Wide, Narrow>(cx, p, sequences) ? start<Wide, K> : fits ? start<Narrow, K> : start<Small, K>;
  way(cx, args, p, faded, sequences, carry);
}
template <int K, bool kErases>
void walk_faded(const Context& cx, const recurrenceArgs& args, const Problem& p, const Faded<K>* faded,
                int64_t sequences, const Carry& carry) {
  const auto way = cx.has_warpgroups ? start_with<K, kErases, WarpgroupEngine, 2>
                                     : start_with<K, kErases, MmaEngine, K <= 64 ? 2 : 1>;
  way(cx, args, p, faded, sequences, carry);
}

}  // namespace
}  // namespace walk

template <int K>
bool takes_vector_gates(const recurrenceArgs& args) {
  return walk::takes_rows<K>(args) && walk::takes_results(args) && args.gateWidth == K && walk::aligned(args.gate);
}

template <int K>
void forward_vector_gates(const Context& cx, const recurrenceArgs& args) {
  using namespace walk;
  Problem p = with_chunks(cx, decode(args), args.offsets, args.tokens, args.checkpointEvery, kTokens);
  p.initialState = args.initialState;
  const int64_t at_once = chunks_at_once(cx, p, p.heads * 2 * static_cast<int64_t>(sizeof(Faded<K>)));
  Faded<K>* const faded = cx.scratch_of<Faded<K>>(2 * at_once * p.heads);
  each_group(cx, p, at_once, Direction::kOn, [&](const Problem& group, int64_t sequences, const Carry& carry) {
    if (p.chunks > 0) fade<K>(cx, group, faded, Direction::kOn);
    const auto walk = p.erase ? walk_faded<K, true> : walk_faded<K, false>;
    walk(cx, args, group, faded, sequences, carry);
  });
}

template bool takes_vector_gates<64>(const recurrenceArgs&);
template bool takes_vector_gates<128>(const recurrenceArgs&);
template void forward_vector_gates<64>(const Context&, const recurrenceArgs&);
template void forward_vector_gates<128>(const Context&, const recurrenceArgs&);

}  // namespace fw::cuda
