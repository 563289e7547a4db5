// The collectives of a warp, by the maps of native/cuda/tile.cuh.
#include <emulation/tile.h>

#include "banks.h"
#include "block.h"
#include "clocks.h"
#include "findings.h"
#include "mma.h"
#include "shadow.h"

namespace emulation {

namespace {
template <class T>
const T& given(const void* const* in, int lane) {
  return *static_cast<const T*>(in[lane]);
}

void sync_warp(const void* const*, void* const*) { count_warp(block.current / kLanes); }

struct Shuffled {
  float value;
  int from;
};
void shuffle_all(const void* const* in, void* const* out) {
  float results[kLanes];
  for (int i = 0; i < kLanes; i++) results[i] = given<Shuffled>(in, given<Shuffled>(in, i).from & 31).value;
  for (int i = 0; i < kLanes; i++) *static_cast<float*>(out[i]) = results[i];
}

constexpr size_t kRowBytes = 16;

template <bool transposed>
void load_matrices(const void* const* in, void* const* out) {
  constexpr int kRows = 8;
  const PlaceId place = id_of(site_at(block.running_warp().place));
  const int warp = block.current / kLanes;
  for (int i = 0; i < kLanes; i++) track_by_warp(offset_in_shared(in[i]), kRowBytes, place, warp);
  for (int matrix = 0; matrix < 4; matrix++) {
    const void* const* rows = in + kRows * matrix;
    for (int i = 0; i < kLanes; i++) {
      const int row = i / 4, column = 2 * (i % 4);
      const auto element = [&](int r, int c) -> uint32_t { return static_cast<const uint16_t*>(rows[r])[c]; };
      const uint32_t first = transposed ? element(column, row) : element(row, column);
      const uint32_t second = transposed ? element(column + 1, row) : element(row, column + 1);
      static_cast<uint32_t*>(out[i])[matrix] = first | second << 16;
    }
  }
}

void check_row(const Place& place, const void* row) {
  const size_t offset = offset_in_shared(row);
  if (offset > block.shared_bytes || block.shared_bytes - offset < kRowBytes) {
    fail(cudaErrorIllegalAddress, "bounds", text_of(place) + ": a row outside the block's shared memory");
  }
  if (offset % kRowBytes != 0) {
    fail(cudaErrorMisalignedAddress, "bounds", text_of(place) + ": a row that is not aligned to 16 bytes");
  }
}

template <bool transposed>
void load_rows(uint32_t (&r)[4], const void* row, const Place& place) {
  check_row(place, row);
  if (count_banks) log_access(offset_in_shared(row), kRowBytes, id_of(site_at(place)));
  meet(place, row, r, load_matrices<transposed>);
}

struct Fragments {
  const uint32_t *a, *b;
};

void mma_bfloat16(const void* const* in, void* const* out) {
  constexpr int kDepth = 16;
  float a[16][kDepth], b[kDepth][8];
  for (int i = 0; i < kLanes; i++) {
    const Fragments& x = given<Fragments>(in, i);
    const int g = i / 4, t = i % 4;
    for (int half = 0; half < 2; half++) {
      const auto part = [&](uint32_t pair) { return fw::cuda::fromBits(half ? pair & 0xffff0000u : pair << 16); };
      for (int r = 0; r < 4; r++) a[g + 8 * (r % 2)][2 * t + half + 8 * (r / 2)] = part(x.a[r]);
      for (int r = 0; r < 2; r++) b[2 * t + half + 8 * r][g] = part(x.b[r]);
    }
  }
  multiply_add<kDepth>(a, b, out);
}

void mma_tf32(const void* const* in, void* const* out) {
  constexpr int kDepth = 8;
  constexpr uint32_t kUsed = 0xffffe000u;
  float a[16][kDepth], b[kDepth][8];
  for (int i = 0; i < kLanes; i++) {
    const Fragments& x = given<Fragments>(in, i);
    const int g = i / 4, t = i % 4;
    for (int r = 0; r < 4; r++) a[g + 8 * (r % 2)][t + 4 * (r / 2)] = fw::cuda::fromBits(x.a[r] & kUsed);
    for (int r = 0; r < 2; r++) b[t + 4 * r][g] = fw::cuda::fromBits(x.b[r] & kUsed);
  }
  multiply_add<kDepth>(a, b, out);
}
}  // namespace

}  // namespace emulation

namespace fw::cuda {

using namespace emulation;

int thread() noexcept { return emulation::block.current; }
int64_t block() noexcept { return emulation::block.index; }
int64_t blocks() noexcept { return emulation::block.blocks; }

void trap(int line, const char* file) {
  fail(cudaErrorLaunchFailure, "trap", text_of({"trap", file, line}));
}
void barrier(int line, const char* file) {
  const Place place = {"barrier", file, line};
  if (!site_at(place).muted) meet_block(place);
}
void warpSync(int line, const char* file) {
  const Place place = {"warpSync", file, line};
  if (!site_at(place).muted) meet(place, nullptr, nullptr, sync_warp);
}

float shuffle(float x, int from, int line, const char* file) {
  const Shuffled shuffled = {x, from};
  float result;
  meet({"shuffle", file, line}, &shuffled, &result, shuffle_all);
  return result;
}
float shuffleXor(float x, int mask, int line, const char* file) {
  const Shuffled shuffled = {x, (emulation::block.current % kLanes) ^ mask};
  float result;
  meet({"shuffle", file, line}, &shuffled, &result, shuffle_all);
  return result;
}

void loadMatrix(uint32_t (&r)[4], const void* row, int line, const char* file) {
  load_rows<false>(r, row, {"loadMatrix", file, line});
}
void loadMatrixT(uint32_t (&r)[4], const void* row, int line, const char* file) {
  load_rows<true>(r, row, {"loadMatrixT", file, line});
}

void mmaBfloat16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], int line, const char* file) {
  const Fragments fragments = {a, b};
  meet({"mma", file, line}, &fragments, c, mma_bfloat16);
}
void mmaTf32(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], int line, const char* file) {
  const Fragments fragments = {a, b};
  meet({"mma", file, line}, &fragments, c, mma_tf32);
}

}  // namespace fw::cuda
