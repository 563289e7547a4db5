// Philox4x32-10 (Salmon et al. 2011), the stream of lib/core/philox.ts: element i is word i mod 4 of block i / 4, so
// that a run is what one thread draws.
#include "flat.cuh"
#include "math.cuh"

namespace fw::cuda {

struct Stream {
  uint32_t low, high;  // of the seed
  uint64_t number;
};

static Stream streamOf(int64_t low, int64_t high, int64_t number) {
  return {static_cast<uint32_t>(low), static_cast<uint32_t>(high), static_cast<uint64_t>(number)};
}

FW_DEVICE Run<uint32_t> draw(const Stream& stream, uint64_t block) {
  uint32_t c0 = static_cast<uint32_t>(block), c1 = static_cast<uint32_t>(block >> 32);
  uint32_t c2 = static_cast<uint32_t>(stream.number), c3 = static_cast<uint32_t>(stream.number >> 32);
  uint32_t k0 = stream.low, k1 = stream.high;
  FW_UNROLL for (int round = 0; round < 10; round++) {
    const uint64_t p0 = uint64_t{0xd2511f53} * c0, p1 = uint64_t{0xcd9e8d57} * c2;
    c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    c1 = static_cast<uint32_t>(p1);
    c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c3 = static_cast<uint32_t>(p0);
    k0 += 0x9e3779b9;
    k1 += 0xbb67ae85;
  }
  return {{c0, c1, c2, c3}};
}

// The upper 24 bits of a word count units of 2^-24.
constexpr float kUnit = 5.9604644775390625e-8f;
FW_DEVICE float unitsOf(uint32_t word) { return static_cast<float>(static_cast<int32_t>(word >> 8)); }

struct Random {
  static constexpr int kThreads = kFlatThreads;
  struct Args {
    Out y;
    int64_t n;
    Stream stream;
    int64_t kind;
    double a, b, width;
  };
  struct Shared {};
  static FW_DEVICE void run(const Args& args, Shared&) {
    const int64_t block = flatThread(), i = kRun * block;
    if (i >= args.n) return;
    const Run<uint32_t> words = draw(args.stream, block);
    if (args.kind == 2) {
      const uint64_t range = static_cast<uint64_t>(args.b - args.a);
      Run<int32_t> whole;
      FW_UNROLL for (int j = 0; j < kRun; j++) {
        whole.at[j] = static_cast<int32_t>(static_cast<int64_t>(args.a) + static_cast<int64_t>(words.at[j] * range >> 32));
      }
      return storeRun(args.y.ints() + i, args.n - i, whole);
    }
    Run<float> y;
    if (args.kind == 0) {
      FW_UNROLL for (int j = 0; j < kRun; j++) {
        y.at[j] = static_cast<float>(args.a + args.width * static_cast<double>(unitsOf(words.at[j]) * kUnit));
      }
    } else {
      // Box-Muller; the first uniform lies in (0, 1], so that its logarithm is finite.
      FW_UNROLL for (int j = 0; j < kRun; j += 2) {
        const float radius = sqrtf(-2.0f * logf((unitsOf(words.at[j]) + 1.0f) * kUnit));
        const Turn turn = turnOf(4.0f * kUnit * unitsOf(words.at[j + 1]));
        y.at[j] = static_cast<float>(args.a + args.b * static_cast<double>(radius * turn.cosine));
        y.at[j + 1] = static_cast<float>(args.a + args.b * static_cast<double>(radius * turn.sine));
      }
    }
    storeRun(args.y, i, args.n - i, y);
  }
};

void random(const Context& cx, const randomArgs& a) {
  require_known("random", "kind", a.kind, 3);
  // With 24 bits like the uniforms, the width makes the product exact: fused or not, the same bits.
  const double width = static_cast<float>(a.b - a.a);
  launch<Random>(cx, flatBlocks(a.n),
                 {a.y, a.n, streamOf(a.seedLow, a.seedHigh, a.stream), a.kind, a.a, a.b, width});
}

struct Dropout {
  static constexpr int kThreads = kFlatThreads;
  struct Args {
    In x;
    Out y;
    int64_t n;
    Stream stream;
    uint32_t least;
    float keep;
  };
  struct Shared {};
  static FW_DEVICE void run(const Args& args, Shared&) {
    const int64_t block = flatThread(), i = kRun * block;
    if (i >= args.n) return;
    const Run<uint32_t> words = draw(args.stream, block);
    Run<float> x = loadRun(args.x, i, args.n - i);
    FW_UNROLL for (int j = 0; j < kRun; j++) {
      x.at[j] = (words.at[j] >> 8) >= args.least ? x.at[j] * args.keep : 0.0f;
    }
    storeRun(args.y, i, args.n - i, x);
  }
};

void dropout(const Context& cx, const dropoutArgs& a) {
  // uniform >= p exactly when the upper 24 bits reach ceil(p 2^24).
  const uint32_t least = static_cast<uint32_t>(ceil(a.p * 16777216.0));
  launch<Dropout>(cx, flatBlocks(a.n), {a.x, a.y, a.n, streamOf(a.seedLow, a.seedHigh, a.stream), least,
                                        static_cast<float>(1 / (1 - a.p))});
}

}  // namespace fw::cuda
