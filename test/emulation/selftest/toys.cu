#include "toys.h"

#include "../../../native/cuda/warpgroup.cuh"

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

struct BulkPipeline {
  static constexpr int kConsumers = 128, kThreads = kConsumers + kWarp, kTile = 512, kStages = 2;
  struct Args {
    const float* x;
    float* y;
    int64_t n;
  };
  struct Shared {
    alignas(128) float tiles[kStages][kTile];
    uint64_t full[kStages], empty[kStages];
  };
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    const int tiles = static_cast<int>(args.n / kTile);
    if (thread() == 0) {
      for (int s = 0; s < kStages; s++) {
        mbarrierInit(&shared.full[s], 1);
        mbarrierInit(&shared.empty[s], kConsumers / kWarp);
      }
      fenceProxyAsync();
    }
    barrier();
    for (int tile = 0; tile < tiles; tile++) {
      const int stage = tile % kStages, round = tile / kStages;
      if (thread() < kConsumers) {
        mbarrierWait(&shared.full[stage], round);
        for (int i = thread(); i < kTile; i += kConsumers) {
          args.y[tile * kTile + i] = shared.tiles[stage][kTile - 1 - i] + 1;
        }
        warpSync();
        if (lane() == 0) mbarrierArrive(&shared.empty[stage]);
      } else if (lane() == 0) {
        mbarrierWait(&shared.empty[stage], round - 1);
        mbarrierExpect(&shared.full[stage], sizeof shared.tiles[stage]);
        copyBulk(shared.tiles[stage], args.x + tile * kTile, sizeof shared.tiles[stage], &shared.full[stage]);
      }
    }
  }
};

// Of factors whose rows are of lines or of terms.
template <toys::Left left, bool bTurned>
struct WarpgroupProduct {
  static constexpr int kThreads = 128, kColumns = 64, kDepth = 64, kLines = 64;
  struct Args {
    const uint16_t *a, *b;  // [64, 64], as they are to lie in shared memory
    float* c;
  };
  struct Shared {
    alignas(1024) uint16_t a[kLines * kDepth];
    alignas(1024) uint16_t b[kLines * kDepth];
  };
  static FW_DEVICE void put(uint16_t* to, const uint16_t* from) {
    for (int i = thread(); i < kLines * kDepth; i += kThreads) {
      const int row = i / 64, column = i % 64;
      to[row * 64 + ((column / 8) ^ (row % 8)) * 8 + column % 8] = from[i];
    }
  }
  static FW_DEVICE uint64_t factor(const uint16_t* tile, bool turned, int k) {
    return matrixDescriptor(tile + (turned ? 64 * k : k), 0, 1024);
  }
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    put(shared.a, args.a), put(shared.b, args.b);
    fenceProxyAsync();
    barrier();
    float c[kColumns / 8][4];
    for (int j = 0; j < kColumns / 8; j++) {
      for (int e = 0; e < 4; e++) c[j][e] = 1;
    }
    warpgroupFence();
    for (int k = 0; k < kDepth; k += 16) {
      const uint64_t b = factor(shared.b, bTurned, k);
      if constexpr (left == toys::Left::kRegisters) {
        const int row = 16 * warp() + lane() / 4, column = k + lane() % 4 * 2;
        uint32_t a[4];
        for (int i = 0; i < 4; i++) {
          const uint16_t* pair = args.a + (row + i % 2 * 8) * kDepth + column + i / 2 * 8;
          a[i] = pair[0] | static_cast<uint32_t>(pair[1]) << 16;
        }
        warpgroupMultiply<bTurned>(c, a, b);
      } else {
        constexpr bool kTurned = left == toys::Left::kTurned;
        warpgroupMultiply<kTurned, bTurned>(c, factor(shared.a, kTurned, k), b);
      }
    }
    warpgroupCommit();
    warpgroupWait<0>();
    for (int j = 0; j < kColumns / 8; j++) {
      eachElement(c[j], [&](int row, int column, float sum) {
        args.c[(16 * warp() + row) * kColumns + 8 * j + column] = sum;
      });
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
template <Left left>
static void multiply(cudaStream_t stream, const uint16_t* a, const uint16_t* b, bool b_turned, float* c) {
  if (b_turned) launch<WarpgroupProduct<left, true>>(on(stream), 1, {a, b, c});
  else launch<WarpgroupProduct<left, false>>(on(stream), 1, {a, b, c});
}
void warpgroup_product(cudaStream_t stream, const uint16_t* a, Left left, const uint16_t* b, bool b_turned, float* c) {
  if (left == Left::kTurned) multiply<Left::kTurned>(stream, a, b, b_turned, c);
  else if (left == Left::kRegisters) multiply<Left::kRegisters>(stream, a, b, b_turned, c);
  else multiply<Left::kRows>(stream, a, b, b_turned, c);
}
void bulk_pipeline(cudaStream_t stream, const float* x, float* y, int64_t n) {
  launch<BulkPipeline>(on(stream), 1, {x, y, n});
}
}  // namespace toys
