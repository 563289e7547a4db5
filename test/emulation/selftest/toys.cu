#include "toys.h"

#include "../../../native/cuda/tile.cuh"

namespace {
using namespace fw::cuda;

Context on(cudaStream_t stream) { return {stream, nullptr}; }

struct Reduce {
  static constexpr int kThreads = 256;
  struct Args {
    const float* x;
    float* y;
  };
  struct Shared {
    float sums[kThreads / kWarp];
  };
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    const float sum = warpSum(args.x[block() * kThreads + thread()]);
    if (lane() == 0) shared.sums[warp()] = sum;
    barrier();
    if (thread() != 0) return;
    float total = 0;
    for (int i = 0; i < kThreads / kWarp; i++) total += shared.sums[i];
    args.y[block()] = total;
  }
};

struct Transpose {
  static constexpr int kThreads = 32;
  struct Args {
    const uint16_t* x;
    uint16_t* y;
  };
  struct Shared {
    alignas(16) uint16_t rows[16][16];
  };
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    for (int i = lane(); i < 256; i += kWarp) shared.rows[i / 16][i % 16] = args.x[i];
    warpSync();
    uint32_t r[4];
    loadMatrixT(r, &shared.rows[lane() % 16][lane() / 16 * 8]);
    FW_UNROLL
    for (int m = 0; m < 4; m++) {
      const int row = m / 2 * 8 + lane() / 4, column = m % 2 * 8 + 2 * (lane() % 4);
      args.y[row * 16 + column] = static_cast<uint16_t>(r[m]);
      args.y[row * 16 + column + 1] = static_cast<uint16_t>(r[m] >> 16);
    }
  }
};

struct Product {
  static constexpr int kThreads = 32;
  struct Args {
    const float *a, *b;
    float* c;
    int depth;
  };
  struct Shared {};
  static FW_DEVICE void run(const Args& args, Shared&) {
    float c[4] = {};
    multiply(
        c, args.depth, [&](int row, int k) { return args.a[row * args.depth + k]; },
        [&](int k, int column) { return args.b[k * 8 + column]; });
    eachElement(c, [&](int row, int column, float x) { args.c[row * 8 + column] = x; });
  }
};

struct Pipeline {
  static constexpr int kThreads = 128, kTile = 4 * kThreads;
  struct Args {
    const float* x;
    float* y;
    int64_t n;
  };
  struct Shared {
    alignas(16) float tiles[2][kTile];
  };
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    const int64_t tiles = args.n / kTile;
    const auto fetch = [&](int64_t tile) {
      if (tile < tiles) copyAsync16(&shared.tiles[tile % 2][4 * thread()], args.x + tile * kTile + 4 * thread());
      copyCommit();
    };
    fetch(0);
    for (int64_t tile = 0; tile < tiles; tile++) {
      fetch(tile + 1);
      copyWait<1>();
      barrier();
      for (int i = thread(); i < kTile; i += kThreads) {
        args.y[tile * kTile + i] = shared.tiles[tile % 2][kTile - 1 - i] + 1;
      }
      barrier();
    }
  }
};
}  // namespace

namespace toys {
void reduce(cudaStream_t stream, const float* x, float* y, int64_t blocks) {
  launch<Reduce>(on(stream), blocks, {x, y});
}
void transpose(cudaStream_t stream, const uint16_t* x, uint16_t* y) { launch<Transpose>(on(stream), 1, {x, y}); }
void product(cudaStream_t stream, const float* a, const float* b, float* c, int depth) {
  launch<Product>(on(stream), 1, {a, b, c, depth});
}
void pipeline(cudaStream_t stream, const float* x, float* y, int64_t n) {
  launch<Pipeline>(on(stream), 1, {x, y, n});
}
}  // namespace toys
