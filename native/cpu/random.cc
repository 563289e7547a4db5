// Philox4x32-10 (Salmon et al. 2011), the stream of lib/core/philox.ts: element i is word i mod 4 of block i / 4.
#include "vec.h"

FW_NAMESPACE_BEGIN

// Blocks drawn together: enough that the compiler vectorises the loops over them. Elements of one task.
static constexpr int kBlocks = 64;
static constexpr int64_t kWords = 4 * kBlocks, kGrain = 64 * kWords;

struct Stream {
  uint32_t key[2];
  uint64_t stream;

  Stream(int64_t low, int64_t high, int64_t number) : key{uint32_t(low), uint32_t(high)}, stream(number) {}

  // words[4 * i + j] = word j of block first + i
  void draw(uint64_t first, uint32_t* words) const {
    uint32_t c0[kBlocks], c1[kBlocks], c2[kBlocks], c3[kBlocks];
    for (int i = 0; i < kBlocks; i++) {
      c0[i] = uint32_t(first + i);
      c1[i] = uint32_t((first + i) >> 32);
      c2[i] = uint32_t(stream);
      c3[i] = uint32_t(stream >> 32);
    }
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
      for (int i = 0; i < kBlocks; i++) {
        const uint64_t p0 = uint64_t(0xd2511f53) * c0[i], p1 = uint64_t(0xcd9e8d57) * c2[i];
        c0[i] = uint32_t(p1 >> 32) ^ c1[i] ^ k0;
        c1[i] = uint32_t(p1);
        c2[i] = uint32_t(p0 >> 32) ^ c3[i] ^ k1;
        c3[i] = uint32_t(p0);
      }
      k0 += 0x9e3779b9;
      k1 += 0xbb67ae85;
    }
    for (int i = 0; i < kBlocks; i++) {
      words[4 * i] = c0[i];
      words[4 * i + 1] = c1[i];
      words[4 * i + 2] = c2[i];
      words[4 * i + 3] = c3[i];
    }
  }
};

// Calls body(at, count, words) for every group of words, count <= kWords.
template <class Body>
static void for_words(const Context& cx, int64_t n, const Stream& stream, const Body& body) {
  parallel_blocks(cx, n, kGrain, [&](int64_t begin, int64_t end) {
    uint32_t words[kWords];
    for (int64_t at = begin; at < end; at += kWords) {
      stream.draw(uint64_t(at) / 4, words);
      body(at, end - at < kWords ? end - at : kWords, words);
    }
  });
}

static constexpr float kUnit = 5.9604644775390625e-8f;  // 2^-24
FW_INLINE float uniform_of(uint32_t word) { return float(int32_t(word >> 8)) * kUnit; }

// Box-Muller: sqrt(-2 ln u) times the cosine (even elements) and sine (odd) of 2 pi v, for pairs of words.
static void normal_pairs(const uint32_t* words, float* out) {
  constexpr int pairs = kWords / 2;
  float u[pairs], v[pairs], cosine[pairs], sine[pairs];
  for (int i = 0; i < pairs; i++) {
    u[i] = float(int32_t(words[2 * i] >> 8) + 1) * kUnit;
    v[i] = uniform_of(words[2 * i + 1]);
  }
  for (int i = 0; i < pairs; i += kLanes) {
    const Vec squared = splat(-2.0f) * vlog(load(u + i));
    Vec radius;
    for (int j = 0; j < kLanes; j++) radius[j] = __builtin_sqrtf(squared[j]);
    // 4 v = quarter + r with |r| <= 1/2, exactly; then both series on r pi / 2.
    const Vec turns = splat(4.0f) * load(v + i);
    const VecInt quarter = __builtin_convertvector(turns + splat(0.5f), VecInt);
    const Vec x = (turns - __builtin_convertvector(quarter, Vec)) * splat(1.57079633f), square = x * x;
    Vec s = fma(splat(-1.9515295891e-4f), square, splat(8.3321608736e-3f));
    s = fma(fma(s, square, splat(-1.6666654611e-1f)), square * x, x);
    Vec c = fma(splat(2.443315711809948e-5f), square, splat(-1.388731625493765e-3f));
    c = fma(fma(c, square, splat(4.166664568298827e-2f)), square * square, fma(splat(-0.5f), square, splat(1.0f)));
    const VecInt swap = (quarter & 1) == 1, flip_sine = (quarter & 2) == 2, flip_cosine = ((quarter + 1) & 2) == 2;
    const Vec sin_turn = select(swap, c, s), cos_turn = select(swap, s, c);
    store(sine + i, radius * select(flip_sine, -sin_turn, sin_turn));
    store(cosine + i, radius * select(flip_cosine, -cos_turn, cos_turn));
  }
  for (int i = 0; i < pairs; i++) {
    out[2 * i] = cosine[i];
    out[2 * i + 1] = sine[i];
  }
}

void random(const Context& cx, const randomArgs& args) {
  const Stream stream(args.seedLow, args.seedHigh, args.stream);
  // With 24 bits like the uniforms, the width makes the product exact: fused or not, the same bits.
  const double a = args.a, b = args.b, width = float(b - a);
  if (args.kind == 2) {
    const uint64_t range = uint64_t(b - a);
    const int64_t low = int64_t(a);
    int32_t* whole = args.y.ints();
    return for_words(cx, args.n, stream, [=](int64_t at, int64_t count, const uint32_t* words) {
      for (int64_t i = 0; i < count; i++) whole[at + i] = int32_t(low + int64_t(words[i] * range >> 32));
    });
  }
  float* y = args.y;
  if (args.kind == 0) {
    for_words(cx, args.n, stream, [=](int64_t at, int64_t count, const uint32_t* words) {
      for (int64_t i = 0; i < count; i++) y[at + i] = float(a + width * double(uniform_of(words[i])));
    });
  } else {
    for_words(cx, args.n, stream, [=](int64_t at, int64_t count, const uint32_t* words) {
      float z[kWords];
      normal_pairs(words, z);
      for (int64_t i = 0; i < count; i++) y[at + i] = float(a + b * double(z[i]));
    });
  }
}

void dropout(const Context& cx, const dropoutArgs& args) {
  const Stream stream(args.seedLow, args.seedHigh, args.stream);
  const float* x = args.x;
  float* y = args.y;
  const float keep = float(1 / (1 - args.p));
  // uniform >= p exactly when the upper 24 bits reach ceil(p 2^24).
  const double bound = __builtin_ceil(args.p * 16777216.0);
  const uint32_t least = uint32_t(bound);
  for_words(cx, args.n, stream, [=](int64_t at, int64_t count, const uint32_t* words) {
    for (int64_t i = 0; i < count; i++) y[at + i] = (words[i] >> 8) >= least ? x[at + i] * keep : 0.0f;
  });
}

FW_NAMESPACE_END
