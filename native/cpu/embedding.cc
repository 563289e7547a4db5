// Rows of a table by index, and the gradient of the table.
#include <string.h>

#include "vec.h"

FW_NAMESPACE_BEGIN

void embedding(const Context& cx, const embeddingArgs& x) {
  const int64_t d = x.d;
  const int32_t* indices = x.indices.ints();
  parallel_blocks(cx, x.rows, 16384 / (d + 1) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) memcpy(x.y + r * d, x.weight + indices[r] * d, d * sizeof(float));
  });
}

void embeddingBackward(const Context& cx, const embeddingBackwardArgs& x) {
  const int64_t d = x.d, rows = x.rows, vocabulary = x.vocabulary;
  const int32_t* indices = x.indices.ints();
  // A task owns a range of the vocabulary and meets its rows in their order. Every task reads all the indices, hence
  // few tasks.
  const int64_t tasks = 2 * cx.threads, range = (vocabulary + tasks - 1) / tasks;
  parallel_blocks(cx, vocabulary, range > 64 ? range : 64, [&](int64_t begin, int64_t end) {
    memset(x.dweight + begin * d, 0, (end - begin) * d * sizeof(float));
    for (int64_t r = 0; r < rows; r++) {
      if (indices[r] < begin || indices[r] >= end) continue;
      const float* from = x.dy + r * d;
      float* to = x.dweight + indices[r] * d;
      for (int64_t j = 0; j < d; j += kLanes)
        store_first(to + j, load_first(to + j, d - j) + load_first(from + j, d - j), d - j);
    }
  });
}

FW_NAMESPACE_END
