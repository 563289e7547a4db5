// Weights of a projection in bfloat16 or 8 bits, in the order in which few rows read them: panels of 64 outputs, in which
// a step of k lies side by side, a line of memory or two.
#pragma once
#include "shared.h"

FW_NAMESPACE_BEGIN

constexpr int64_t kQuantizedPanel = 64;

FW_INLINE VecInt load_ints(const int32_t* p) { return reinterpret_cast<VecInt>(load(reinterpret_cast<const float*>(p))); }

// A word holds kParts columns that lie 16 apart, so that a vector of words becomes kParts vectors of columns on every
// instruction set, of which a weight is kUnit times its number.
struct Bfloat16Weights {
  static constexpr int kParts = 2;
  static constexpr float kUnit = 1;
  template <int I>
  FW_INLINE Vec part(VecInt words) {
    return reinterpret_cast<Vec>(I == 0 ? words << 16 : words & (VecInt{} + int32_t(0xffff0000)));
  }
};
// An integer stays where it is when the others of its word are masked, which saves a shift: a power of two too large, of
// no consequence to any rounding.
struct Int8Weights {
  static constexpr int kParts = 4;
  static constexpr float kUnit = 1.0f / (1 << 24);
  template <int I>
  FW_INLINE Vec part(VecInt words) {
    const VecInt top = VecInt{} + int32_t(0xff000000);
    return __builtin_convertvector(I == 0 ? words << 24 : words << (24 - 8 * I) & top, Vec);
  }
};

template <class Weights>
struct QuantizedPanel {
  static constexpr int kParts = Weights::kParts;
  static constexpr int64_t kWords = kQuantizedPanel / kParts;  // of a step
  static constexpr int kVectorsOfWords = int(kWords / kLanes);
  // The column of part `part` of the first word of vector `v`.
  static constexpr int64_t column(int v, int part) {
    const int64_t word = int64_t(v) * kLanes;
    return word / 16 * (16 * kParts) + part * 16 + word % 16;
  }
  static const int32_t* at(const int32_t* weight, int64_t k, int64_t panel, int64_t step) {
    return weight + (panel * k + step) * kWords;
  }
};

// body(part, column) for each vector of columns in D vectors of words.
template <class Weights, int D, class Body>
FW_INLINE void for_parts(const VecInt (&words)[D], int first, const Body& body) {
#pragma GCC unroll 4
  for (int d = 0; d < D; d++) {
    const auto part = [&](int i, Vec x) { body(d * Weights::kParts + i, QuantizedPanel<Weights>::column(first + d, i), x); };
    part(0, Weights::template part<0>(words[d]));
    part(1, Weights::template part<1>(words[d]));
    if constexpr (Weights::kParts == 4) {
      part(2, Weights::template part<2>(words[d]));
      part(3, Weights::template part<3>(words[d]));
    }
  }
}

// `steps` steps of a panel as float32, in the panels of kPanel columns that tiles read; `width` columns of it exist.
template <class Weights>
static void unpack_panel(const int32_t* words, int64_t steps, int64_t width, float* panels) {
  using Panel = QuantizedPanel<Weights>;
  for (int64_t p = 0; p < steps; p++, words += Panel::kWords) {
    VecInt line[Panel::kVectorsOfWords];
#pragma GCC unroll 8
    for (int v = 0; v < Panel::kVectorsOfWords; v++) line[v] = load_ints(words + v * kLanes);
    for_parts<Weights>(line, 0, [&](int, int64_t column, Vec x) {
      const int64_t panel = column / kPanel * kPanel, left = width - panel;
      if (left <= 0 || column >= (width + kLanes - 1) / kLanes * kLanes) return;
      const int64_t stride = left < kPanel ? (left + kLanes - 1) / kLanes * kLanes : kPanel;
      store(panels + panel * steps + p * stride + column - panel, x);
    });
  }
}

// Registers for sums; the others hold what is multiplied.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kSumVectors = 24;
#else
constexpr int kSumVectors = 8;
#endif
template <class Weights>
constexpr int most_stream_rows() {
  return kSumVectors / Weights::kParts < 4 ? kSumVectors / Weights::kParts : 4;
}
template <class Weights>
constexpr int vectors_of_words(int rows) {
  int d = QuantizedPanel<Weights>::kVectorsOfWords;
  while (d > 1 && d * Weights::kParts * rows > kSumVectors) d /= 2;
  return d;
}

constexpr int64_t kStepsAhead = 24;  // of memory that is fetched before it is read, in lines

// sums[R, 64] = (starts ? 0 : sums) + x[R, steps] times the steps of a panel: one chain of multiply-adds per column.
template <class Weights, int R>
static void stream_panel(const float* x, int64_t x_row, const int32_t* words, int64_t steps, bool starts, float* sums) {
  using Panel = QuantizedPanel<Weights>;
  constexpr int D = vectors_of_words<Weights>(R), kSums = D * Weights::kParts;
  for (int first = 0; first < Panel::kVectorsOfWords; first += D) {
    Vec acc[R][kSums] = {};
    const int32_t* line = words + first * kLanes;
    for (int64_t p = 0; p < steps; p++, line += Panel::kWords) {
      __builtin_prefetch(line + kStepsAhead * 16);
      if (Panel::kWords > 16) __builtin_prefetch(line + kStepsAhead * 16 + 16);
      VecInt loaded[D];
#pragma GCC unroll 4
      for (int d = 0; d < D; d++) loaded[d] = load_ints(line + d * kLanes);
      Vec in[R];
#pragma GCC unroll 4
      for (int r = 0; r < R; r++) in[r] = splat(x[r * x_row + p]);
      for_parts<Weights>(loaded, 0, [&](int i, int64_t, Vec w) {
#pragma GCC unroll 4
        for (int r = 0; r < R; r++) acc[r][i] = fma(in[r], w, acc[r][i]);
      });
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; r++)
#pragma GCC unroll 16
      for (int i = 0; i < kSums; i++) {
        float* sum = sums + r * kQuantizedPanel + Panel::column(first + i / Weights::kParts, i % Weights::kParts);
        store(sum, starts ? acc[r][i] : load(sum) + acc[r][i]);
      }
  }
}

FW_NAMESPACE_END
