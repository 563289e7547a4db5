// Batched matrix products over strided operands.
#include "tall.h"

FW_NAMESPACE_BEGIN

static const Gemm float32_gemm = {pack_panels<Float32Products>, multiply_panels<Float32Products>};

const Gemm& gemm_of(int64_t precision) {
  return precision == kBfloat16Products && has_bfloat16_products() ? bfloat16_gemm : float32_gemm;
}

// The product as it is computed: lanes run along the columns of c, so those should be long and contiguous.
static matmulArgs oriented(const matmulArgs& x) {
  const bool narrow = x.n < kLanes && x.m > x.n, flat = x.m < kLanes && x.n > x.m;
  if (!narrow && (flat || x.cStrides[3] == 1 || x.cStrides[2] != 1)) return x;
  const auto turned = [](const Dims& d) { return Dims{4, {d[0], d[1], d[3], d[2]}}; };
  matmulArgs t = x;
  t.a.data = x.b.data, t.b.data = x.a.data, t.m = x.n, t.n = x.m;
  t.aStrides = turned(x.bStrides), t.bStrides = turned(x.aStrides), t.cStrides = turned(x.cStrides);
  return t;
}

// Matrix z of a batch of two dimensions.
static Matrix member(const void* data, const Dims& strides, int64_t batch2, int64_t z) {
  return {static_cast<float*>(const_cast<void*>(data)) + z / batch2 * strides[0] + z % batch2 * strides[1], strides[2],
          strides[3]};
}
static Matrix a_of(const matmulArgs& x, int64_t z) { return member(x.a.data, x.aStrides, x.batch2, z); }
static Matrix b_of(const matmulArgs& x, int64_t z) { return member(x.b.data, x.bStrides, x.batch2, z); }
static Matrix c_of(const matmulArgs& x, int64_t z) { return member(x.c.data, x.cStrides, x.batch2, z); }

// Products [first, last) of a batch, each fetching the operands of the next.
static void multiply_members(const Context& cx, const matmulArgs& x, int64_t first, int64_t last) {
  const auto dense = [](const Matrix& m, int64_t rows, int64_t cols) {
    return (m.col == 1 && m.row == cols) || (m.row == 1 && m.col == rows);
  };
  float* panel = panel_memory(cx);
  for (int64_t z = first; z < last; z++) {
    const Matrix a = a_of(x, z), b = b_of(x, z), c = c_of(x, z);
    Upcoming ahead;
    if (z + 1 < last && dense(a, x.m, x.k) && dense(b, x.k, x.n) && dense(c, x.m, x.n)) {
      ahead.add(c_of(x, z + 1).data, x.m * x.n);
      ahead.add(b_of(x, z + 1).data, x.k * x.n);
      ahead.add(a_of(x, z + 1).data, x.m * x.k);
    }
    product(a, b, c, x.m, x.n, x.k, float(x.alpha), !x.accumulate, panel, ahead);
  }
}

void matmul(const Context& cx, const matmulArgs& args) {
  const matmulArgs x = oriented(args);
  const int64_t batch = x.batch1 * x.batch2, work = x.m * x.n * x.k;
  if (batch <= 0 || x.m <= 0 || x.n <= 0) return;
  if (x.k <= 0) {
    for (int64_t z = 0; z < batch && !x.accumulate; z++)
      for (int64_t i = 0; i < x.m; i++)
        for (int64_t j = 0; j < x.n; j++) *c_of(x, z).at(i, j) = 0;
    return;
  }
  if (batch >= 2 * cx.threads || work < 2 * kTaskWork) {
    const int64_t least = (kTaskWork + work - 1) / work, even = batch / (4 * cx.threads);
    return parallel_blocks(cx, batch, cx.threads == 1 ? batch : least > even ? least : even,
                           [&](int64_t first, int64_t last) { multiply_members(cx, x, first, last); });
  }
  // Whether operands are rounded never depends on the number of threads.
  const bool rounds = batch == 1 && a_of(x, 0).has_lines() && b_of(x, 0).has_lines();
  const Gemm& gemm = gemm_of(rounds ? x.precision : int64_t(kFloat32Products));
  for (int64_t z = 0; z < batch; z++) {
    const Matrix a = a_of(x, z), b = b_of(x, z), c = c_of(x, z);
    if (&gemm == &float32_gemm && is_tall(a, b, c, x.m, x.n, x.k)) {
      multiply_tall(cx, a, b, c, x.m, x.n, x.k, float(x.alpha), !x.accumulate);
    } else {
      multiply(cx, gemm, a, b, c, x.m, x.n, x.k, float(x.alpha), !x.accumulate);
    }
  }
}

FW_NAMESPACE_END
