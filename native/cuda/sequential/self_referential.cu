// The self-referential weight matrix; its equations stand in native/families.
#include "driver.cuh"
#include "../../families/selfReferential.h"

namespace fw::cuda {

void selfReferential(const Context& cx, const selfReferentialArgs& a) {
  if (a.inputY.data) walk_forward<SelfReferential<Engine, true>>(cx, a);
  else walk_forward<SelfReferential<Engine, false>>(cx, a);
}
void selfReferentialBackward(const Context& cx, const selfReferentialBackwardArgs& a) {
  if (a.inputY.data) walk_backward<SelfReferential<Engine, true>>(cx, a);
  else walk_backward<SelfReferential<Engine, false>>(cx, a);
}

}  // namespace fw::cuda
