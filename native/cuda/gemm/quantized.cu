// y = activation(scale x W^T + bias) + residual for weights in bfloat16 or 8 bits. A block owns a panel of 64 outputs and a
// few rows; its threads share the steps of k out, so that every line of the weights is read once for these rows, and add up
// what they have by a fixed order.
#include "../flat.cuh"
#include "../math.cuh"
#include "../team.cuh"

namespace fw::cuda {
namespace {

constexpr int kPanel = 64, kRows = 4;

// kParts numbers per word: two of bfloat16, or four integers.
template <int kParts>
struct QuantizedLinear {
  static constexpr int kThreads = kPanel * kRows, kWords = kPanel / kParts, kSlices = kThreads / kWords;
  using Args = quantizedLinearArgs;
  struct Shared {
    float sums[kSlices][kRows][kPanel];
  };

  static FW_DEVICE float part(int32_t word, int i) {
    if (kParts == 2) return fromBfloat16(static_cast<uint16_t>(word >> (16 * i)));
    return static_cast<float>(static_cast<int8_t>(word >> (8 * i)));
  }

  static FW_DEVICE void run(const Args& a, Shared& shared) {
    const Division at = divide(block(), (a.n + kPanel - 1) / kPanel);
    const int64_t panel = at.rest, row = at.quotient * kRows;
    const int word = thread() % kWords, slice = thread() / kWords;
    float sums[kRows][kParts] = {};
    for (int64_t p = slice; p < a.k; p += kSlices) {
      const int32_t bits = a.weight.ints()[(panel * a.k + p) * kWords + word];
      FW_UNROLL for (int r = 0; r < kRows; r++) {
        const float x = row + r < a.rows ? load(a.x, (row + r) * a.k + p) : 0.0f;
        FW_UNROLL for (int i = 0; i < kParts; i++) sums[r][i] = fmaf(x, part(bits, i), sums[r][i]);
      }
    }
    const int column = word / 16 * (16 * kParts) + word % 16;
    FW_UNROLL for (int r = 0; r < kRows; r++) {
      FW_UNROLL for (int i = 0; i < kParts; i++) shared.sums[slice][r][column + 16 * i] = sums[r][i];
    }
    barrier();
    const int r = thread() / kPanel, c = thread() % kPanel;
    const int64_t j = panel * kPanel + c, y = (row + r) * a.n + j;
    if (row + r >= a.rows || j >= a.n) return;
    float sum = 0;
    for (int s = 0; s < kSlices; s++) sum += shared.sums[s][r][c];
    float z = sum * (a.scale.data ? load(a.scale, j) : 1.0f);
    if (a.bias.data) z += load(a.bias, j);
    if (a.activation == kSiluActivation) z = silu(z);
    if (a.residual.data) z += load(a.residual, y);
    store(a.y, y, z);
  }
};

}  // namespace

void quantizedLinear(const Context& cx, const quantizedLinearArgs& a) {
  require_known("quantizedLinear", "activation", a.activation, kSiluActivation + 1);
  require_known("quantizedLinear", "format", a.format, kInt8Weights + 1);
  if (a.rows <= 0 || a.n <= 0) return;
  const int64_t blocks = ceil_div(a.n, kPanel) * ceil_div(a.rows, kRows);
  if (a.format == kInt8Weights) launch<QuantizedLinear<4>>(cx, blocks, a);
  else launch<QuantizedLinear<2>>(cx, blocks, a);
}

}  // namespace fw::cuda
