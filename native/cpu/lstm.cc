// The pointwise part of an LSTM step: c' = sigmoid(f) c + sigmoid(i) tanh(g), h = sigmoid(o) tanh(c').
#include "vec.h"

FW_NAMESPACE_BEGIN

constexpr int64_t kGrain = 8192;

static int64_t rows_per_task(int64_t d) { return d >= kGrain ? 1 : kGrain / (d > 0 ? d : 1); }

void lstmCell(const Context& cx, const lstmCellArgs& x) {
  const int64_t d = x.d;
  parallel_blocks(cx, x.rows, rows_per_task(d), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      const float *gates = x.gates + r * 4 * d, *cell = x.cell + r * d;
      float *next = x.newCell + r * d, *hidden = x.hidden + r * d;
      for (int64_t j = 0; j < d; j += kLanes) {
        const int64_t left = d - j;
        const Vec in = vsigmoid(load_first(gates + j, left)), forget = vsigmoid(load_first(gates + d + j, left));
        const Vec update = vtanh(load_first(gates + 2 * d + j, left));
        const Vec out = vsigmoid(load_first(gates + 3 * d + j, left));
        const Vec c = fma(forget, load_first(cell + j, left), in * update);
        store_first(next + j, c, left);
        store_first(hidden + j, out * vtanh(c), left);
      }
    }
  });
}

void lstmCellBackward(const Context& cx, const lstmCellBackwardArgs& x) {
  const int64_t d = x.d;
  const Vec one = splat(1.0f);
  parallel_blocks(cx, x.rows, rows_per_task(d), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      const float *gates = x.gates + r * 4 * d, *cell = x.cell + r * d, *next = x.newCell + r * d;
      const float *dhidden = x.dhidden + r * d, *dnext = x.dnewCell.data ? x.dnewCell + r * d : nullptr;
      float *dgates = x.dgates + r * 4 * d, *dcell = x.dcell + r * d;
      for (int64_t j = 0; j < d; j += kLanes) {
        const int64_t left = d - j;
        const Vec in = vsigmoid(load_first(gates + j, left)), forget = vsigmoid(load_first(gates + d + j, left));
        const Vec update = vtanh(load_first(gates + 2 * d + j, left));
        const Vec out = vsigmoid(load_first(gates + 3 * d + j, left));
        const Vec t = vtanh(load_first(next + j, left)), dh = load_first(dhidden + j, left);
        const Vec through = dh * out * (one - t * t);
        const Vec dc = dnext ? through + load_first(dnext + j, left) : through;
        store_first(dgates + j, dc * update * in * (one - in), left);
        store_first(dgates + d + j, dc * load_first(cell + j, left) * forget * (one - forget), left);
        store_first(dgates + 2 * d + j, dc * in * (one - update * update), left);
        store_first(dgates + 3 * d + j, dh * t * out * (one - out), left);
        store_first(dcell + j, dc * forget, left);
      }
    }
  });
}

FW_NAMESPACE_END
