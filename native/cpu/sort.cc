// The order of the elements of lines: by words that hold a key above a position, sorted by the bytes of the key.
#include <string.h>

#include "isa.h"

FW_NAMESPACE_BEGIN

// Numbers in the order of the elements; equal ones have equal keys, and all NaN the largest.
FW_INLINE uint32_t key_of(int32_t x) { return uint32_t(x) ^ 0x80000000u; }
FW_INLINE uint32_t key_of(float x) {
  if (x != x) return ~0u;
  uint32_t bits;
  x = x == 0 ? 0.0f : x;
  memcpy(&bits, &x, 4);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}

static void insertion_sort(uint64_t* words, int64_t n) {
  for (int64_t i = 1; i < n; i++) {
    const uint64_t word = words[i];
    int64_t at = i;
    for (; at > 0 && words[at - 1] > word; at--) words[at] = words[at - 1];
    words[at] = word;
  }
}

// Four passes, each stable, over the bytes of the key; one whose bytes are all the same moves nothing. Returns where the
// sorted words are.
static uint64_t* radix_sort(uint64_t* words, uint64_t* spare, int64_t n) {
  for (int shift = 32; shift < 64; shift += 8) {
    int64_t starts[256] = {};
    for (int64_t i = 0; i < n; i++) starts[words[i] >> shift & 255]++;
    if (starts[words[0] >> shift & 255] == n) continue;
    int64_t sum = 0;
    for (int64_t& start : starts) {
      const int64_t count = start;
      start = sum;
      sum += count;
    }
    for (int64_t i = 0; i < n; i++) spare[starts[words[i] >> shift & 255]++] = words[i];
    uint64_t* const sorted = spare;
    spare = words;
    words = sorted;
  }
  return words;
}

template <class T>
static void sort_lines(const Context& cx, const argsortArgs& args) {
  const T* x = static_cast<const T*>(args.x.data);
  int32_t* y = args.y.ints();
  const int64_t n = args.n, inner = args.inner;
  const uint32_t flip = args.descending ? ~0u : 0;
  parallel_blocks(cx, args.outer * inner, 4096 / (n + 1) + 1, [&](int64_t begin, int64_t end) {
    uint64_t* const words = static_cast<uint64_t*>(cx.scratch(0, n * 8));
    uint64_t* const spare = static_cast<uint64_t*>(cx.scratch(1, n * 8));
    for (int64_t line = begin; line < end; line++) {
      const int64_t at = line / inner * n * inner + line % inner;
      for (int64_t i = 0; i < n; i++) words[i] = uint64_t(key_of(x[at + i * inner]) ^ flip) << 32 | uint64_t(i);
      const uint64_t* sorted = words;
      if (n < 64) insertion_sort(words, n);
      else sorted = radix_sort(words, spare, n);
      for (int64_t i = 0; i < n; i++) y[at + i * inner] = int32_t(sorted[i]);
    }
  });
}

void argsort(const Context& cx, const argsortArgs& a) {
  switch (a.x.dtype) {
    case kFloat32: return sort_lines<float>(cx, a);
    case kInt32: return sort_lines<int32_t>(cx, a);
    default: return cx.fail("argsort: unknown dtype");
  }
}

FW_NAMESPACE_END
