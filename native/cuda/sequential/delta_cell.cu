// The recurrent part of Delta RNN and Delta LSTM; its equations stand in native/families.
#include "driver.cuh"
#include "../../families/deltaCell.h"

namespace fw::cuda {

#define FW_DELTA_CELLS(walk) \
  switch (a.cell) { \
    case kDeltaRnn1: return walk<DeltaCell<Engine, kDeltaRnn1>>(cx, a); \
    case kDeltaRnn2: return walk<DeltaCell<Engine, kDeltaRnn2>>(cx, a); \
    case kDeltaLstm1: return walk<DeltaCell<Engine, kDeltaLstm1>>(cx, a); \
    case kDeltaLstm2: return walk<DeltaCell<Engine, kDeltaLstm2>>(cx, a); \
    case kDeltaLstm3: return walk<DeltaCell<Engine, kDeltaLstm3>>(cx, a); \
    default: return walk<DeltaCell<Engine, kDeltaLstm4>>(cx, a); \
  }
void deltaCell(const Context& cx, const deltaCellArgs& a) { FW_DELTA_CELLS(walk_forward) }
void deltaCellBackward(const Context& cx, const deltaCellBackwardArgs& a) { FW_DELTA_CELLS(walk_backward) }

}  // namespace fw::cuda
