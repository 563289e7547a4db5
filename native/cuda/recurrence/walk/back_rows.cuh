// What the walks back have in common: the gradient of a state in the registers of their warps, and tiles of the trace.
#pragma once
#include "rows.cuh"

namespace fw::cuda::walk {

// Pairs of values to a tile whose rows are keys, or tokens, and what rounding has left of them to `low`, if it is given.
template <int n>
FW_DEVICE void put_tile(const Task& task, uint16_t* to, const float (&x)[n][4], uint16_t* low = nullptr) {
  if (!task.live()) return;
  FW_UNROLL for (int e = 0; e < 2; e++) {
    const int place = at(own_token() + e, own_value() % 64);
    FW_UNROLL for (int i = 0; i < n; i++) {
      const PairSplit pair = splitPair(x[i][e], x[i][e + 2]);
      *reinterpret_cast<uint32_t*>(to + moved(place, 8 * i, 0)) = pair.high;
      if (low) *reinterpret_cast<uint32_t*>(low + moved(place, 8 * i, 0)) = pair.low;
    }
  }
}

// What the group that ran before has left; else the gradient of the sequence's final state, if it has one.
template <int K>
FW_DEVICE void get_dstate(const Task& task, const InMaybe& dfinalState, const Carry& carry, bool ends,
                          State<K>& dstate) {
  FW_UNROLL for (int i = 0; i < K / 8; i++)
    FW_UNROLL for (int e = 0; e < 4; e++) dstate[i][e] = 0;
  In from = dfinalState;
  if (!ends) from.data = carry.carried, from.dtype = kFloat32;
  if (!from.data) return;
  task.template each_key<K>(ends ? task.n : 0, [&](int i, int e, int64_t place) {
    dstate[i][e] = load(from, place), dstate[i][e + 2] = load(from, place + 1);
  });
}

// For the group that runs next; else the gradient of the sequence's initial state, if it is asked for.
template <int K>
FW_DEVICE void put_dstate(const Task& task, const OutMaybe& dinitialState, const Carry& carry, bool begins,
                          const State<K>& dstate) {
  Out to = dinitialState;
  if (!begins) to.data = carry.carry, to.dtype = kFloat32;
  if (!to.data) return;
  task.template each_key<K>(begins ? task.n : 0, [&](int i, int e, int64_t place) {
    put_pair(to, place, dstate[i][e], dstate[i][e + 2]);
  });
}

}  // namespace fw::cuda::walk
