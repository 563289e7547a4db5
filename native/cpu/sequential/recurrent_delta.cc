// The Recurrent Delta Net; its equations stand in native/families.
#include "driver.h"
#include "../../families/recurrentDelta.h"

FW_NAMESPACE_BEGIN

void recurrentDelta(const Context& cx, const recurrentDeltaArgs& a) { walk_forward<RecurrentDelta<Engine>>(cx, a); }
void recurrentDeltaBackward(const Context& cx, const recurrentDeltaBackwardArgs& a) {
  walk_backward<RecurrentDelta<Engine>>(cx, a);
}

FW_NAMESPACE_END
