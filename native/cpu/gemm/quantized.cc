// y = activation(scale x W^T + bias) + residual for weights in bfloat16 or 8 bits, with float32 sums. Few rows read each
// line of memory of the weights once, as fast as it comes; for many a panel becomes float32 and goes through the tiles of
// other products. An element is the same chain of multiply-adds in both.
#include <string.h>

#include "quantized.h"

FW_NAMESPACE_BEGIN

namespace {

constexpr int64_t kStreamRows = 8;

struct QuantizedEpilogue : Epilogue {
  const quantizedLinearArgs& x;
  float unit;
  QuantizedEpilogue(const quantizedLinearArgs& x, float unit) : Epilogue{run, close_by}, x(x), unit(unit) {}

  static void close_by(const Epilogue& self, int64_t i, int64_t j, int64_t rows, int64_t cols, Lines& lines) {
    const quantizedLinearArgs& x = static_cast<const QuantizedEpilogue&>(self).x;
    if (x.residual.data) lines.add(x.residual + i * x.n + j, x.n, rows, cols);
  }

  static void run(const Epilogue& self, int64_t i, int64_t j, int64_t rows, int64_t cols) {
    const QuantizedEpilogue& all = static_cast<const QuantizedEpilogue&>(self);
    const quantizedLinearArgs& x = all.x;
    const bool silu = x.activation == kSiluActivation;
    const float *scale = x.scale.data ? x.scale + j : nullptr, *bias = x.bias.data ? x.bias + j : nullptr;
    for (int64_t r = i; r < i + rows; r++) {
      const int64_t at = r * x.n + j;
      float* y = x.y + at;
      const float* residual = x.residual.data ? x.residual + at : nullptr;
      for_vectors(cols, [&](int64_t s, auto load_at, auto store_at) {
        // One formula, so that it is contracted in one way; -0 changes nothing, not even the sign of a zero.
        Vec v = fma(load_at(y + s) * splat(all.unit), scale ? load_at(scale + s) : splat(1),
                    bias ? load_at(bias + s) : splat(-0.0f));
        if (silu) v = vsilu(v);
        if (residual) v += load_at(residual + s);
        store_at(y + s, v);
      });
    }
  }
};

// Rows [0, rows), at most kStreamRows of them.
template <class Weights>
void stream(const Context& cx, const quantizedLinearArgs& x, const Epilogue& epilogue) {
  using Panel = QuantizedPanel<Weights>;
  constexpr int kMost = most_stream_rows<Weights>();
  static constexpr decltype(&stream_panel<Weights, 1>) kernels[] = {
      stream_panel<Weights, 1>, stream_panel<Weights, 2>, stream_panel<Weights, 3>, stream_panel<Weights, kMost>};
  const int32_t* weight = x.weight.ints();
  const int64_t rows = x.rows, k = x.k, depth = depth_of(k), strips = (rows + kMost - 1) / kMost;
  const int64_t panels = (x.n + kQuantizedPanel - 1) / kQuantizedPanel;
  // More tasks than threads: one that the system holds up leaves its share to the others.
  const int64_t tasks = 4 * cx.threads, even = (panels + tasks - 1) / tasks;
  const int64_t least = kTaskWork / (rows * k * kQuantizedPanel) + 1;
  parallel_blocks(cx, panels, least > even ? least : even, [&](int64_t begin, int64_t end) {
    for (int64_t panel = begin; panel < end; panel++) {
      float sums[kStreamRows * kQuantizedPanel];
      for (int64_t p = 0; p < k; p += depth) {
        const int64_t steps = k - p < depth ? k - p : depth;
        for (int64_t s = 0; s < strips; s++) {
          const int64_t r = s * rows / strips, count = (s + 1) * rows / strips - r;
          kernels[count - 1](x.x + r * k + p, k, Panel::at(weight, k, panel, p), steps, p == 0,
                             sums + r * kQuantizedPanel);
        }
      }
      const int64_t j = panel * kQuantizedPanel, width = x.n - j < kQuantizedPanel ? x.n - j : kQuantizedPanel;
      for (int64_t r = 0; r < rows; r++)
        memcpy(x.y + r * x.n + j, sums + r * kQuantizedPanel, width * sizeof(float));
      epilogue.apply(epilogue, 0, j, rows, width);
    }
  });
}

// Every panel belongs to one task, or to a few that share its rows out where there are few panels.
template <class Weights>
void multiply_unpacked(const Context& cx, const quantizedLinearArgs& x, const Epilogue& epilogue) {
  using Panel = QuantizedPanel<Weights>;
  const Gemm& gemm = gemm_of(kFloat32Products);
  const Matrix a = row_major(x.x, x.k), c = row_major(x.y, x.n);
  const int64_t k = x.k, depth = depth_of(k), panels = (x.n + kQuantizedPanel - 1) / kQuantizedPanel;
  const Cut blocks = cut_rows(x.rows, cx.threads);
  const Cut shares = cut(blocks.count, panels < 2 * cx.threads ? cx.threads : 1);
  parallel(cx, panels * shares.count, [&](int64_t task) {
    const int64_t panel = task / shares.count, share = task % shares.count, j = panel * kQuantizedPanel;
    const int64_t width = x.n - j < kQuantizedPanel ? x.n - j : kQuantizedPanel;
    float* packed = static_cast<float*>(cx.scratch(3, packed_floats(depth, kQuantizedPanel) * int64_t(sizeof(float))));
    float* left = static_cast<float*>(cx.scratch(2, kLeftFloats * int64_t(sizeof(float))));
    for (int64_t p = 0; p < k; p += depth) {
      const int64_t steps = k - p < depth ? k - p : depth;
      unpack_panel<Weights>(Panel::at(x.weight.ints(), k, panel, p), steps, width, packed);
      for (int64_t b = shares.begin(share); b < shares.begin(share + 1); b++) {
        const int64_t i = blocks.begin(b);
        const EpilogueAt at(&epilogue, i, j);
        gemm.multiply(a.from(i, p), packed, c.from(i, j), blocks.size(b), width, steps, 0, panels_of(width), 1, p == 0,
                      p + steps == k ? &at : nullptr, left);
      }
    }
  });
}

template <class Weights>
void run(const Context& cx, const quantizedLinearArgs& x) {
  const QuantizedEpilogue epilogue(x, Weights::kUnit);
  if (x.rows <= kStreamRows) return stream<Weights>(cx, x, epilogue);
  multiply_unpacked<Weights>(cx, x, epilogue);
}

}  // namespace

void quantizedLinear(const Context& cx, const quantizedLinearArgs& x) {
  if (x.rows <= 0 || x.n <= 0) return;
  if (x.k <= 0) {
    memset(x.y.data, 0, x.rows * x.n * sizeof(float));
    const QuantizedEpilogue epilogue(x, 1);
    return epilogue.apply(epilogue, 0, 0, x.rows, x.n);
  }
  if (x.format == kInt8Weights) return run<Int8Weights>(cx, x);
  run<Bfloat16Weights>(cx, x);
}

FW_NAMESPACE_END
