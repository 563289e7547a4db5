// A matrix that learns at test time; its equations stand in native/families. Each head of a sequence is one thread's.
#include "matrices.h"
#include "../../families/linearLearner.h"

FW_NAMESPACE_BEGIN

template <class Way>
static void walk_chunks(const Context& cx, const typename Way::Args& a) {
  const typename LinearLearner<Matrices>::Layout layout(a);
  Arena count(nullptr, true);
  {
    Matrices on(count);
    typename Way::Memory counted(on, layout);
  }
  parallel(cx, a.sequences * a.heads, [&](int64_t i) {
    Arena arena(cx.scratch(0, count.used), true);
    Matrices on(arena);
    typename Way::Memory memory(on, layout);
    Way::run(on, memory, layout, a, Track{i / a.heads, i % a.heads, a.heads, i / a.heads * a.tokens, a.tokens});
  });
}

void linearLearner(const Context& cx, const linearLearnerArgs& a) { walk_chunks<Forward<LinearLearner<Matrices>>>(cx, a); }
void linearLearnerBackward(const Context& cx, const linearLearnerBackwardArgs& a) {
  walk_chunks<Backward<LinearLearner<Matrices>>>(cx, a);
}

FW_NAMESPACE_END
