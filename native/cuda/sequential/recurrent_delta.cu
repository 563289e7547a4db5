// The Recurrent Delta Net; its equations stand in native/families.
#include "driver.cuh"
#include "../../families/recurrentDelta.h"

namespace fw::cuda {

void recurrentDelta(const Context& cx, const recurrentDeltaArgs& a) { walk_forward<RecurrentDelta, 4>(cx, a); }
void recurrentDeltaBackward(const Context& cx, const recurrentDeltaBackwardArgs& a) {
  walk_backward<RecurrentDelta, 4>(cx, a);
}

}  // namespace fw::cuda
