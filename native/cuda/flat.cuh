// Grids over elements: a thread takes a run of four neighbouring ones, in one access where they lie aligned.
#pragma once
#include "operand.cuh"

namespace fw::cuda {

constexpr int kFlatThreads = 256, kRun = 4;

template <class T>
struct alignas(kRun * sizeof(T)) Run {
  T at[kRun];
};

// Blocks of kFlatThreads for all runs of `rows` rows of `width` elements; the last run of a row may be short.
inline int64_t flatBlocks(int64_t width, int64_t rows = 1) {
  const int64_t runs = rows * ((width + kRun - 1) / kRun);
  return (runs + kFlatThreads - 1) / kFlatThreads;
}

// The number of this thread in the grid.
FW_DEVICE int64_t flatThread() { return block() * kFlatThreads + thread(); }

struct Division {
  int64_t quotient, rest;
};
// Of numbers that are not negative; 64 bits take several times as long, hence only where they are needed.
FW_DEVICE Division divide(int64_t a, int64_t b) {
  if (((a | b) >> 32) == 0) {
    const uint32_t a32 = static_cast<uint32_t>(a), b32 = static_cast<uint32_t>(b);
    return {a32 / b32, a32 % b32};
  }
  return {a / b, a % b};
}

// Where the run of this thread begins in rows of `width` elements. Past the last run, `row` is past the last row.
struct Place {
  int64_t row, column;
};
FW_DEVICE Place placeOf(int64_t width) {
  const Division at = divide(flatThread(), (width + kRun - 1) / kRun);
  return {at.quotient, kRun * at.rest};
}

// The first kRun of `left` > 0 elements that lie `step` apart; missing ones are 0.
template <class T>
FW_DEVICE Run<T> loadRun(const T* from, int64_t left, int64_t step = 1) {
  if (step == 1 && left >= kRun && reinterpret_cast<uintptr_t>(from) % sizeof(Run<T>) == 0) {
    return *reinterpret_cast<const Run<T>*>(from);
  }
  Run<T> run;
  FW_UNROLL for (int j = 0; j < kRun; j++) run.at[j] = j < left ? from[j * step] : T{};
  return run;
}
template <class T>
FW_DEVICE void storeRun(T* to, int64_t left, const Run<T>& run, int64_t step = 1) {
  if (step == 1 && left >= kRun && reinterpret_cast<uintptr_t>(to) % sizeof(Run<T>) == 0) {
    *reinterpret_cast<Run<T>*>(to) = run;
    return;
  }
  FW_UNROLL for (int j = 0; j < kRun; j++) {
    if (j < left) to[j * step] = run.at[j];
  }
}

// The same of operands, from element i on.
FW_DEVICE Run<float> loadRun(const In& x, int64_t i, int64_t left, int64_t step = 1) {
  if (x.dtype != kBfloat16) return loadRun(static_cast<const float*>(x.data) + i, left, step);
  const Run<uint16_t> halves = loadRun(static_cast<const uint16_t*>(x.data) + i, left, step);
  Run<float> run;
  FW_UNROLL for (int j = 0; j < kRun; j++) run.at[j] = fromBfloat16(halves.at[j]);
  return run;
}
FW_DEVICE void storeRun(const Out& y, int64_t i, int64_t left, const Run<float>& run) {
  if (y.dtype != kBfloat16) return storeRun(static_cast<float*>(y.data) + i, left, run);
  Run<uint16_t> halves;
  FW_UNROLL for (int j = 0; j < kRun; j++) halves.at[j] = toBfloat16(run.at[j]);
  storeRun(static_cast<uint16_t*>(y.data) + i, left, halves);
}

}  // namespace fw::cuda
