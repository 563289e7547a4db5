// Conversions, the sums of tensor cores, the fast functions, and bank conflicts.
#include <emulation/device.h>
#include <emulation/tile.h>
#include <math.h>

#include "../control.h"
#include "../mma.h"
#include "support.h"
#include "toys.h"

namespace selftest {

namespace {
using namespace fw::cuda;

void test_conversions() {
  expect(toBfloat16(1.f) == 0x3f80, "1 as bfloat16");
  expect(toBfloat16(fromBits(0x3f808000)) == 0x3f80, "half a unit above an even bfloat16 goes down");
  expect(toBfloat16(fromBits(0x3f818000)) == 0x3f82, "half a unit above an odd bfloat16 goes up");
  expect(toBfloat16(3.4e38f) == 0x7f80, "the largest float32 overflows");
  expect(isnan(fromBfloat16(toBfloat16(fromBits(0xff800001)))), "NaN stays NaN");
  expect(fromBfloat16(toBfloat16(-INFINITY)) == -INFINITY, "infinity stays infinity");
  expect(toTf32(fromBits(0x3f801000)) == 0x3f802000, "half a unit of TF32 goes away from zero");
  expect(toTf32(fromBits(0x3f800fff)) == 0x3f800000, "less goes toward it");
  expect(isnan(fromBits(toTf32(NAN))), "NaN stays NaN in TF32");
}

// Element (0, 0) of c + a b with a row and a column, and c.
float mma(const float (&a_row)[8], const float (&b_column)[8], float c) {
  float a[16][8] = {}, b[8][8] = {}, fragments[32][4] = {};
  void* out[32];
  for (int k = 0; k < 8; k++) {
    a[0][k] = a_row[k];
    b[k][0] = b_column[k];
  }
  for (int i = 0; i < 32; i++) out[i] = fragments[i];
  fragments[0][0] = c;
  emulation::multiply_add<8>(a, b, out);
  return fragments[0][0];
}

void test_sums() {
  const float ones[8] = {1, 1, 1, 1, 1, 1, 1, 1}, small[8] = {0x1p-24f, 0x1p-24f, 0x1p-24f, 0x1p-24f};
  const float mixed[8] = {1, 0x1p-23f, -0x1p-25f}, infinite[8] = {INFINITY, -INFINITY};
  for (const bool truncated : {false, true}) {
    emulation::set_truncated_sums(truncated);
    expect(mma(ones, ones, 2) == 10, "an exact sum");
    expect(mma(small, ones, 1) == 1, "parts below the 24th bit of the largest are lost");
    expect(mma(small, ones, 0) == 0x1p-22f, "but not beside smaller ones");
    expect(mma(mixed, ones, 0) == 1 + 0x1p-23f, "the 24th bit is kept");
    expect(isnan(mma(infinite, ones, 0)), "infinities of both signs make NaN");
    expect(mma(infinite, infinite, 0) == INFINITY, "infinite products");
  }
  const float halves[8] = {1, 0x1.8p-24f};
  emulation::set_truncated_sums(true);
  expect(mma(halves, ones, 0) == 1, "cut");
  emulation::set_truncated_sums(false);
  expect(mma(halves, ones, 0) == 1 + 0x1p-23f, "rounded");
}

void test_functions() {
  float worst = 0;
  for (float x = -80; x < 80; x += 0.37f) {
    worst = fmaxf(worst, fabsf(rsqrtf(x * x) * fabsf(x) - 1));
    worst = fmaxf(worst, fabsf(__expf(x) / expf(x) - 1) / fmaxf(1, fabsf(x)));
  }
  expect(worst > 0 && worst < 5e-7f, "fast functions are near, and not exact");
  expect(__expf(-100) == 0 && __expf(100) == INFINITY, "results below the normal ones are flushed");
  expect(rsqrtf(0) == INFINITY && isnan(rsqrtf(-1)), "rsqrtf of 0 and of -1");
}

void test_banks() {
  const Buffer<uint16_t> x(256), y(256);
  emulation::take_bank_conflicts();
  emulation::count_bank_conflicts(true);
  toys::transpose(stream(), x.data(), y.data());
  cudaDeviceSynchronize();
  emulation::count_bank_conflicts(false);
  int64_t extra = 0, stores = 0;
  for (const emulation::BankConflicts& line : emulation::take_bank_conflicts()) {
    if (line.place.find("loadMatrixT") != std::string::npos) extra += line.extra;
    else stores += line.extra;
  }
  // Rows of 32 bytes: the eight rows of a matrix lie in two banks' width each, at every second place.
  expect(extra == 4, "loadMatrix of rows 32 bytes apart takes 4 more passes, not " + std::to_string(extra));
  expect(stores == 0, "stores side by side are in different banks");
}
}  // namespace

void test_numbers() {
  test_conversions();
  test_sums();
  test_functions();
  test_banks();
}

}  // namespace selftest
