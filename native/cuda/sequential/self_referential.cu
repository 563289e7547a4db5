// The self-referential weight matrix; its equations stand in native/families.
#include "driver.cuh"
#include "../../families/selfReferential.h"

namespace fw::cuda {

template <class Engine>
using WithOneInput = SelfReferential<Engine, false>;
template <class Engine>
using WithOwnInput = SelfReferential<Engine, true>;

void selfReferential(const Context& cx, const selfReferentialArgs& a) {
  if (a.inputY.data) walk_forward<WithOwnInput>(cx, a);
  else walk_forward<WithOneInput, 4>(cx, a);
}
void selfReferentialBackward(const Context& cx, const selfReferentialBackwardArgs& a) {
  if (a.inputY.data) walk_backward<WithOwnInput>(cx, a);
  else walk_backward<WithOneInput>(cx, a);
}

}  // namespace fw::cuda
