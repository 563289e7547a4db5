// The gated feed-forward, y = (silu(x Wg^T) * x Wu^T) Wd^T + residual (Shazeer 2020), and its backward pass. Blocks of
// rows go through all projections at once, so that the hidden layer stays in the second cache. Its units are taken in
// slices of the blocks in which a product adds its terms: so many rows have the bits of few.
#include <string.h>

#include "../swiglu.h"
#include "shared.h"

FW_NAMESPACE_BEGIN

namespace {

// A whole weight b[k, n] in panels, one after the other for every depth of a product.
struct PackedWeight {
  const Gemm& gemm;
  float* packed;
  int64_t k, n;

  static int64_t floats(int64_t k, int64_t n) { return (k + depth_of(k)) * panels_of(n) * kPanel; }

  void pack(const Context& cx, Matrix b) {
    for_depths([&](int64_t p, int64_t depth, float* at) { pack_shared(cx, gemm, b.from(p, 0), depth, n, at); });
  }
  // c[m, n] = (overwrite ? 0 : c) + a[m, k] b for m <= kBlockRows, then `epilogue` (null for none).
  void multiply(Matrix a, Matrix c, int64_t m, bool overwrite, const Epilogue* epilogue, float* left) {
    for_depths([&](int64_t p, int64_t depth, float* at) {
      gemm.multiply(a.from(0, p), at, c, m, n, depth, 0, panels_of(n), 1, overwrite && p == 0,
                    p + depth == k ? epilogue : nullptr, left);
    });
  }

 private:
  template <class Body>
  void for_depths(const Body& body) {
    const int64_t depth = depth_of(k);
    for (int64_t p = 0; p < k; p += depth)
      body(p, k - p < depth ? k - p : depth, packed + p * panels_of(n) * kPanel);
  }
};

// silu(gate) up, as soon as a piece of up is there. The three lie in rows of `stride`.
struct Activate : Epilogue {
  const float *gate, *up;
  float* activated;
  int64_t gate_stride, stride;
  Activate(const float* gate, const float* up, int64_t gate_stride, float* activated, int64_t stride)
      : Epilogue{run, close_by}, gate(gate), up(up), activated(activated), gate_stride(gate_stride), stride(stride) {}

  static void close_by(const Epilogue& self, int64_t i, int64_t j, int64_t rows, int64_t cols, Lines& lines) {
    const Activate& x = static_cast<const Activate&>(self);
    lines.add(x.gate + i * x.gate_stride + j, x.gate_stride, rows, cols);
  }

  static void run(const Epilogue& self, int64_t i, int64_t j, int64_t rows, int64_t cols) {
    const Activate& x = static_cast<const Activate&>(self);
    for (int64_t r = i; r < i + rows; r++) {
      const float *gate = x.gate + r * x.gate_stride + j, *up = x.up + r * x.gate_stride + j;
      float* activated = x.activated + r * x.stride + j;
      for_vectors(cols, [&](int64_t s, auto load_at, auto store_at) {
        store_at(activated + s, gated(load_at(gate + s), load_at(up + s)));
      });
    }
  }
};

// From d(activated), where it lies in `activated`, to its own value and the gradients of gate and up.
struct ActivateBackward : Epilogue {
  const feedForwardBackwardArgs& x;
  int64_t row, column;  // of the block in the whole
  ActivateBackward(const feedForwardBackwardArgs& x, int64_t row, int64_t column)
      : Epilogue{run, close_by}, x(x), row(row), column(column) {}

  static void close_by(const Epilogue& self, int64_t i, int64_t j, int64_t rows, int64_t cols, Lines& lines) {
    const ActivateBackward& at = static_cast<const ActivateBackward&>(self);
    const int64_t hidden = at.x.hidden, from = (at.row + i) * hidden + at.column + j;
    const float* const touched[] = {at.x.gate, at.x.up, at.x.dgate, at.x.dup};
    for (const float* data : touched) lines.add(data + from, hidden, rows, cols);
  }

  static void run(const Epilogue& self, int64_t i, int64_t j, int64_t rows, int64_t cols) {
    const ActivateBackward& at = static_cast<const ActivateBackward&>(self);
    const feedForwardBackwardArgs& x = at.x;
    for (int64_t r = i; r < i + rows; r++) {
      const int64_t from = (at.row + r) * x.hidden + at.column + j;
      const float *gate = x.gate + from, *up = x.up + from;
      float *activated = x.activated + from, *dgate = x.dgate + from, *dup = x.dup + from;
      for_vectors(cols, [&](int64_t s, auto load_at, auto store_at) {
        const Gated g = gated_backward(load_at(gate + s), load_at(up + s), load_at(activated + s));
        store_at(activated + s, g.y);
        store_at(dgate + s, g.dgate);
        store_at(dup + s, g.dup);
      });
    }
  }
};

// Memory for three packed weights with `width` hidden units.
struct Weights {
  float *gate, *up, *down;
  Weights(const Context& cx, int64_t d, int64_t width) {
    const int64_t in = PackedWeight::floats(d, width), out = PackedWeight::floats(width, d);
    const int64_t each = in > out ? in : out;
    gate = static_cast<float*>(cx.scratch(3, 3 * each * int64_t(sizeof(float))));
    up = gate + each, down = up + each;
  }
};

float* left_memory(const Context& cx) {
  return static_cast<float*>(cx.scratch(2, kLeftFloats * int64_t(sizeof(float))));
}

void start_rows(const feedForwardArgs& x, int64_t row, int64_t rows) {
  if (x.residual.data) memcpy(x.y + row * x.d, x.residual + row * x.d, rows * x.d * sizeof(float));
}

// A few rows at a time: products as they come.
void forward_few(const Context& cx, const feedForwardArgs& x) {
  const int64_t rows = x.rows, d = x.d, hidden = x.hidden, size = rows * hidden;
  float* memory = static_cast<float*>(cx.scratch(1, 3 * size * int64_t(sizeof(float))));
  float* gate = x.gate.data ? x.gate : memory;
  float* up = x.up.data ? x.up : memory + size;
  float* activated = memory + 2 * size;
  const Gemm& gemm = gemm_of(kFloat32Products);
  const Activate epilogue(gate, up, hidden, activated, hidden);
  multiply(cx, gemm, row_major(x.x, d), row_major(x.gateWeight, d).transposed(), row_major(gate, hidden), rows, hidden,
           d, 1, true);
  multiply(cx, gemm, row_major(x.x, d), row_major(x.upWeight, d).transposed(), row_major(up, hidden), rows, hidden, d,
           1, true, &epilogue);
  start_rows(x, 0, rows);
  multiply(cx, gemm, row_major(activated, hidden), row_major(x.downWeight, hidden).transposed(), row_major(x.y, d),
           rows, d, hidden, 1, !x.residual.data);
}

}  // namespace

void feedForward(const Context& cx, const feedForwardArgs& x) {
  const int64_t d = x.d, hidden = x.hidden;
  const Cut blocks = cut_rows(x.rows, cx.threads);
  if (x.rows <= 0 || d <= 0) return;
  if (hidden <= 0) return memset(x.y.data, 0, x.rows * d * sizeof(float)), start_rows(x, 0, x.rows);
  if (x.rows <= kFewRows) return forward_few(cx, x);
  const Gemm& gemm = gemm_of(x.precision);
  const int64_t slice = depth_of(hidden);
  const Weights memory(cx, d, slice);
  for (int64_t h = 0; h < hidden; h += slice) {
    const int64_t width = hidden - h < slice ? hidden - h : slice;
    PackedWeight gate{gemm, memory.gate, d, width}, up{gemm, memory.up, d, width}, down{gemm, memory.down, width, d};
    gate.pack(cx, row_major(x.gateWeight + h * d, d).transposed());
    up.pack(cx, row_major(x.upWeight + h * d, d).transposed());
    down.pack(cx, row_major(x.downWeight + h, hidden).transposed());
    parallel(cx, blocks.count, [&](int64_t i) {
      const int64_t row = blocks.begin(i), rows = blocks.size(i);
      float* left = left_memory(cx);
      float* own = static_cast<float*>(cx.scratch(1, 3 * rows * width * int64_t(sizeof(float))));
      const int64_t stride = x.gate.data ? hidden : width;
      float* g = x.gate.data ? x.gate + row * hidden + h : own;
      float* u = x.gate.data ? x.up + row * hidden + h : own + rows * width;
      float* activated = own + 2 * rows * width;
      const Activate epilogue(g, u, stride, activated, width);
      if (h == 0) start_rows(x, row, rows);
      const Matrix in = row_major(x.x + row * d, d);
      gate.multiply(in, row_major(g, stride), rows, true, nullptr, left);
      up.multiply(in, row_major(u, stride), rows, true, &epilogue, left);
      down.multiply(row_major(activated, width), row_major(x.y + row * d, d), rows, h == 0 && !x.residual.data, nullptr,
                    left);
    });
  }
}

void feedForwardBackward(const Context& cx, const feedForwardBackwardArgs& x) {
  const int64_t d = x.d, hidden = x.hidden;
  const Cut blocks = cut_rows(x.rows, cx.threads);
  if (x.rows <= 0) return;
  const Gemm& gemm = gemm_of(x.rows <= kFewRows ? int64_t(kFloat32Products) : x.precision);
  if (hidden <= 0 && x.dx.data && !x.accumulate) memset(x.dx.data, 0, x.rows * d * sizeof(float));
  const int64_t slice = depth_of(hidden);
  const Weights memory(cx, d, slice);
  for (int64_t h = 0; h < hidden; h += slice) {
    const int64_t width = hidden - h < slice ? hidden - h : slice;
    PackedWeight gate{gemm, memory.gate, width, d}, up{gemm, memory.up, width, d}, down{gemm, memory.down, d, width};
    down.pack(cx, row_major(x.downWeight + h, hidden));
    if (x.dx.data) {
      gate.pack(cx, row_major(x.gateWeight + h * d, d));
      up.pack(cx, row_major(x.upWeight + h * d, d));
    }
    parallel(cx, blocks.count, [&](int64_t i) {
      const int64_t row = blocks.begin(i), rows = blocks.size(i), from = row * hidden + h;
      float* left = left_memory(cx);
      const ActivateBackward epilogue(x, row, h);
      down.multiply(row_major(x.dy + row * d, d), row_major(x.activated + from, hidden), rows, true, &epilogue, left);
      if (!x.dx.data) return;
      const Matrix dx = row_major(x.dx + row * d, d);
      gate.multiply(row_major(x.dgate + from, hidden), dx, rows, h == 0 && !x.accumulate, nullptr, left);
      up.multiply(row_major(x.dup + from, hidden), dx, rows, false, nullptr, left);
    });
  }
}

FW_NAMESPACE_END
