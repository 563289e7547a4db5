// What is done with the elements of a product before they are stored.
#pragma once
#include "../math.cuh"
#include "../operand.cuh"

namespace fw::cuda::gemm {

enum Finish {
  kScale,         // y = alpha sum
  kAdd,           // y += alpha sum
  kActivate,      // preactivation = sum + bias, y = activation of it, + residual
  kGate,          // up = sum, y = silu(gate) up
  kGateBackward,  // sum is the gradient of y = silu(gate) up, which is made again
};

// Neighbours in a row that are read and written at once: 16 bytes of bfloat16.
constexpr int kWide = 8;

// Elements [i, i + kWidth), one or kWide and then aligned to 16 bytes.
template <int kWidth, class Operand>
FW_DEVICE void loadGroup(const Operand& x, int64_t i, float (&to)[kWidth]) {
  if (kWidth == 1) {
    to[0] = load(x, i);
  } else if (x.dtype == kBfloat16) {
    const uint4 bits = *reinterpret_cast<const uint4*>(static_cast<const uint16_t*>(x.data) + i);
    const uint32_t pairs[4] = {bits.x, bits.y, bits.z, bits.w};
    FW_UNROLL for (int w = 0; w < kWidth; w++) {
      to[w] = w % 2 == 0 ? firstOfPair(pairs[w / 2]) : secondOfPair(pairs[w / 2]);
    }
  } else {
    const auto* const from = reinterpret_cast<const float4*>(static_cast<const float*>(x.data) + i);
    FW_UNROLL for (int w = 0; w < kWidth; w += 4) {
      const float4 four = from[w / 4];
      to[w] = four.x, to[w + 1] = four.y, to[w + 2] = four.z, to[w + 3] = four.w;
    }
  }
}
// Both dtypes have their first 16 bytes from one instruction: of two the compiler makes stores of single words.
template <int kWidth>
FW_DEVICE void storeGroup(const Out& x, int64_t i, const float (&from)[kWidth]) {
  if constexpr (kWidth == 1) {
    store(x, i, from[0]);
  } else {
    static_assert(kWidth == kWide, "16 bytes of bfloat16");
    const bool narrow = x.dtype == kBfloat16;
    uint32_t words[kWidth];
    FW_UNROLL for (int w = 0; w < kWidth; w++) words[w] = toBits(from[w]);
    FW_UNROLL for (int w = 0; w < kWidth / 2; w++) {
      if (narrow) words[w] = toBfloat16Pair(from[2 * w], from[2 * w + 1]);
    }
    auto* const to = reinterpret_cast<uint4*>(static_cast<char*>(x.data) + i * (narrow ? 2 : 4));
    to[0] = make_uint4(words[0], words[1], words[2], words[3]);
    if (!narrow) to[1] = make_uint4(words[4], words[5], words[6], words[7]);
  }
}

// y is strided; the others are [rows, columns] or, the bias, [columns]. What `finish` does not need may be absent.
struct Epilogue {
  Finish finish = kScale;
  Out y;
  int64_t batch1 = 0, batch2 = 0, row = 0, column = 1;
  float alpha = 1;
  bool activate = false;
  In bias, residual, gate, upIn;
  Out preactivation, up, dgate, dup;

  // Whether rows of n columns are whole groups of kWide everywhere.
  bool isWide(int64_t n) const {
    for (const int64_t size : {n, row, batch1, batch2}) {
      if (size % kWide != 0) return false;
    }
    for (const void* data : {y.data, preactivation.data, up.data, dgate.data, dup.data}) {
      if (reinterpret_cast<uintptr_t>(data) % 16 != 0) return false;
    }
    for (const void* data : {bias.data, residual.data, gate.data, upIn.data}) {
      if (reinterpret_cast<uintptr_t>(data) % 16 != 0) return false;
    }
    return column == 1;
  }

  // Elements of the result side by side: where the first lies in y and in the others, its column, what is to be read.
  template <int kWidth>
  struct Elements {
    int64_t to, at, c;
    float first[kWidth], second[kWidth];
  };

  // Where row r and column c of n of member (i, j) are, and what is to be read there.
  template <int kWidth>
  FW_DEVICE void place(Elements<kWidth>& e, int64_t i, int64_t j, int64_t r, int64_t c, int64_t n) const {
    e.to = i * batch1 + j * batch2 + r * row + c * column, e.at = r * n + c, e.c = c;
  }
  template <Finish kFinish, int kWidth>
  FW_DEVICE void read(Elements<kWidth>& e) const {
    if constexpr (kFinish == kAdd) loadGroup(y, e.to, e.first);
    if constexpr (kFinish == kActivate) {
      if (bias.data) loadGroup(bias, e.c, e.first);
      if (residual.data) loadGroup(residual, e.at, e.second);
    }
    if constexpr (kFinish == kGateBackward) loadGroup(upIn, e.at, e.second);
    if constexpr (kFinish == kGate || kFinish == kGateBackward) loadGroup(gate, e.at, e.first);
  }

  // Sums are used up.
  template <Finish kFinish, int kWidth>
  FW_DEVICE void write(const Elements<kWidth>& e, float (&sums)[kWidth]) const {
    const auto each = [&](const auto& change) {
      FW_UNROLL for (int w = 0; w < kWidth; w++) sums[w] = change(sums[w], e.first[w], e.second[w]);
    };
    if constexpr (kFinish == kScale) each([&](float sum, float, float) { return alpha * sum; });
    if constexpr (kFinish == kAdd) each([&](float sum, float before, float) { return before + alpha * sum; });
    if constexpr (kFinish == kActivate) {
      if (bias.data) each([](float sum, float bias, float) { return sum + bias; });
      if (preactivation.data) storeGroup(preactivation, e.at, sums);
      if (activate) each([](float z, float, float) { return silu(z); });
      if (residual.data) each([](float x, float, float residual) { return x + residual; });
    }
    if constexpr (kFinish == kGate) {
      if (up.data) storeGroup(up, e.at, sums);
      each([](float sum, float gate, float) { return silu(gate) * sum; });
    }
    if constexpr (kFinish == kGateBackward) {
      float gradients[kWidth];
      FW_UNROLL for (int w = 0; w < kWidth; w++) gradients[w] = sums[w] * e.second[w] * siluSlope(e.first[w]);
      storeGroup(dgate, e.at, gradients);
      FW_UNROLL for (int w = 0; w < kWidth; w++) gradients[w] = sums[w] * silu(e.first[w]);
      storeGroup(dup, e.at, gradients);
      each([](float, float gate, float up) { return silu(gate) * up; });
    }
    storeGroup(y, e.to, sums);
  }

  // Calls visit(finish), a constant: loops over elements have what it decides before them.
  template <class Visit>
  FW_DEVICE void with(const Visit& visit) const {
    switch (finish) {
      case kScale: return visit(std::integral_constant<Finish, kScale>());
      case kAdd: return visit(std::integral_constant<Finish, kAdd>());
      case kActivate: return visit(std::integral_constant<Finish, kActivate>());
      case kGate: return visit(std::integral_constant<Finish, kGate>());
      case kGateBackward: return visit(std::integral_constant<Finish, kGateBackward>());
    }
  }
};

}  // namespace fw::cuda::gemm
