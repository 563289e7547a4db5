// Runs a sequential family over all heads of all sequences of a call, each of them on one thread.
#pragma once
#include "engine.h"

FW_NAMESPACE_BEGIN

// Way is Forward or Backward of a family.
template <class Way, class Layout>
static void walk(const Context& cx, const typename Way::Args& a, const Layout& layout) {
  Arena count(nullptr, true);
  {
    Engine on{count};
    typename Way::Memory counted(on, layout);
  }
  const int32_t* offsets = a.offsets.ints();
  parallel(cx, a.sequences * a.heads, [&](int64_t i) {
    const int64_t n = i / a.heads;
    const int64_t begin = offsets ? offsets[n] : n * a.tokens, end = offsets ? offsets[n + 1] : begin + a.tokens;
    Arena arena(cx.scratch(0, count.used), true);
    Engine on{arena};
    typename Way::Memory memory(on, layout);
    Way::run(on, memory, layout, a, Track{n, i % a.heads, a.heads, begin, end - begin});
  });
}
template <class Family>
static void walk_forward(const Context& cx, const typename Family::Args& a) {
  walk<Forward<Family>>(cx, a, typename Family::Layout(a));
}
template <class Family>
static void walk_backward(const Context& cx, const typename Family::BackwardArgs& a) {
  walk<Backward<Family>>(cx, a, typename Family::Layout(a));
}

FW_NAMESPACE_END
