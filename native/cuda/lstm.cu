// The pointwise part of an LSTM step: c' = sigmoid(f) c + sigmoid(i) tanh(g), h = sigmoid(o) tanh(c').
#include "flat.cuh"
#include "math.cuh"

namespace fw::cuda {

struct LstmCell {
  static constexpr int kThreads = kFlatThreads;
  using Args = lstmCellArgs;
  struct Shared {};
  static FW_DEVICE void run(const Args& a, Shared&) {
    const auto [row, column] = placeOf(a.d);
    if (row >= a.rows) return;
    const int64_t left = a.d - column, at = row * a.d + column, gates = 4 * row * a.d + column;
    const Run<float> in = loadRun(a.gates, gates, left), forget = loadRun(a.gates, gates + a.d, left);
    const Run<float> update = loadRun(a.gates, gates + 2 * a.d, left), out = loadRun(a.gates, gates + 3 * a.d, left);
    Run<float> cell = loadRun(a.cell, at, left), hidden;
    FW_UNROLL for (int j = 0; j < kRun; j++) {
      cell.at[j] = flushed(sigmoid(forget.at[j]) * cell.at[j] + sigmoid(in.at[j]) * tanhf(update.at[j]));
      hidden.at[j] = sigmoid(out.at[j]) * tanhf(cell.at[j]);
    }
    storeRun(a.newCell, at, left, cell);
    storeRun(a.hidden, at, left, hidden);
  }
};

struct LstmCellBackward {
  static constexpr int kThreads = kFlatThreads;
  using Args = lstmCellBackwardArgs;
  struct Shared {};
  static FW_DEVICE void run(const Args& a, Shared&) {
    const auto [row, column] = placeOf(a.d);
    if (row >= a.rows) return;
    const int64_t left = a.d - column, at = row * a.d + column, gates = 4 * row * a.d + column;
    Run<float> in = loadRun(a.gates, gates, left), forget = loadRun(a.gates, gates + a.d, left);
    Run<float> update = loadRun(a.gates, gates + 2 * a.d, left), out = loadRun(a.gates, gates + 3 * a.d, left);
    Run<float> cell = loadRun(a.cell, at, left);
    const Run<float> next = loadRun(a.newCell, at, left), dhidden = loadRun(a.dhidden, at, left);
    const Run<float> dnext = a.dnewCell.data ? loadRun(a.dnewCell, at, left) : Run<float>{};
    FW_UNROLL for (int j = 0; j < kRun; j++) {
      const float i = in.at[j], f = forget.at[j], g = update.at[j], o = out.at[j], c = next.at[j];
      const float dh = dhidden.at[j], dc = dh * sigmoid(o) * tanhSlope(c) + dnext.at[j];
      in.at[j] = dc * tanhf(g) * sigmoidSlope(i);
      forget.at[j] = dc * cell.at[j] * sigmoidSlope(f);
      update.at[j] = dc * sigmoid(i) * tanhSlope(g);
      out.at[j] = dh * tanhf(c) * sigmoidSlope(o);
      cell.at[j] = dc * sigmoid(f);
    }
    storeRun(a.dgates, gates, left, in);
    storeRun(a.dgates, gates + a.d, left, forget);
    storeRun(a.dgates, gates + 2 * a.d, left, update);
    storeRun(a.dgates, gates + 3 * a.d, left, out);
    storeRun(a.dcell, at, left, cell);
  }
};

void lstmCell(const Context& cx, const lstmCellArgs& a) { launch<LstmCell>(cx, flatBlocks(a.d, a.rows), a); }
void lstmCellBackward(const Context& cx, const lstmCellBackwardArgs& a) {
  launch<LstmCellBackward>(cx, flatBlocks(a.d, a.rows), a);
}

}  // namespace fw::cuda
