// The recurrent part of Delta RNN and Delta LSTM; its equations stand in native/families.
#include "driver.cuh"
#include "../../families/deltaCell.h"

namespace fw::cuda {

template <int kCell>
struct Cell {
  template <class Engine>
  using Family = DeltaCell<Engine, kCell>;
};

#define FW_DELTA_CELLS(walk) \
  switch (a.cell) { \
    case kDeltaRnn1: return walk<Cell<kDeltaRnn1>::Family>(cx, a); \
    case kDeltaRnn2: return walk<Cell<kDeltaRnn2>::Family>(cx, a); \
    case kDeltaLstm1: return walk<Cell<kDeltaLstm1>::Family>(cx, a); \
    case kDeltaLstm2: return walk<Cell<kDeltaLstm2>::Family>(cx, a); \
    case kDeltaLstm3: return walk<Cell<kDeltaLstm3>::Family>(cx, a); \
    default: return walk<Cell<kDeltaLstm4>::Family>(cx, a); \
  }
void deltaCell(const Context& cx, const deltaCellArgs& a) { FW_DELTA_CELLS(walk_forward) }
void deltaCellBackward(const Context& cx, const deltaCellBackwardArgs& a) { FW_DELTA_CELLS(walk_backward) }

}  // namespace fw::cuda
