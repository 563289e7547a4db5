// The self-referential weight matrix; its equations stand in native/families.
#include "driver.h"
#include "../../families/selfReferential.h"

FW_NAMESPACE_BEGIN

void selfReferential(const Context& cx, const selfReferentialArgs& a) {
  if (a.inputY.data) walk_forward<SelfReferential<Engine, true>>(cx, a);
  else walk_forward<SelfReferential<Engine, false>>(cx, a);
}
void selfReferentialBackward(const Context& cx, const selfReferentialBackwardArgs& a) {
  if (a.inputY.data) walk_backward<SelfReferential<Engine, true>>(cx, a);
  else walk_backward<SelfReferential<Engine, false>>(cx, a);
}

FW_NAMESPACE_END
