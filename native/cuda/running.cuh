// What a stretch of a line does to a running value, as one value: those of neighbouring stretches combine, so that a warp
// takes 32 elements at a time.
#pragma once
#include "team.cuh"

namespace fw::cuda {

// y -> factor y + add.
struct Linear {
  float factor = 1, add = 0;
  static FW_DEVICE Linear of(float x, float factor) { return {factor, x}; }
  FW_DEVICE Linear after(const Linear& before) const {
    return {factor * before.factor, fmaf(factor, before.add, add)};
  }
  FW_DEVICE float value() const { return add; }
};
FW_DEVICE Linear shuffle(const Linear& x, int from) {
  return {cuda::shuffle(x.factor, from), cuda::shuffle(x.add, from)};
}

// y -> max(most, factor + y); whatever y is, nothing of it is left by a factor of -Infinity.
struct Most {
  float factor = 0, most = -INFINITY;
  FW_DEVICE Most after(const Most& before) const {
    const float carried = factor == -INFINITY ? factor : factor + before.most;
    return {factor + before.factor, carried > most || carried != carried ? carried : most};
  }
  FW_DEVICE float value() const { return most; }
};
FW_DEVICE Most shuffle(const Most& x, int from) { return {cuda::shuffle(x.factor, from), cuda::shuffle(x.most, from)}; }

// The stretch from the first member of a team to the calling one, after what came before them all.
template <int kTeam, class Step>
FW_DEVICE Step after_all(Step own, const Step& before) {
  for (int distance = 1; distance < kTeam; distance *= 2) {
    const Step left = shuffle(own, lane() >= distance ? lane() - distance : 0);
    if (lane() >= distance) own = own.after(left);
  }
  return own.after(before);
}

}  // namespace fw::cuda
