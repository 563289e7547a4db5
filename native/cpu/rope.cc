// Rotary position embedding.
#include <math.h>
#include <string.h>

#include "vec.h"

FW_NAMESPACE_BEGIN

void rope(const Context& cx, const ropeArgs& x) {
  const int64_t heads = x.heads, width = x.width, pairs = x.pairs;
  const int32_t* positions = x.positions.ints();
  const float* frequencies = x.frequencies;
  const int64_t grain = 8192 / (heads * width + 1) + 1;
  parallel_blocks(cx, x.tokens, grain, [&](int64_t begin, int64_t end) {
    float* cosine = static_cast<float*>(cx.scratch(0, (2 * pairs + 1) * sizeof(float)));
    float* sine = cosine + pairs;
    for (int64_t t = begin; t < end; t++) {
      for (int64_t i = 0; i < pairs; i++) {
        // The angle grows to 10^5 and more: in float32 its rounding alone would cost two digits.
        const double angle = double(positions[t]) * frequencies[i];
        cosine[i] = float(cos(angle));
        sine[i] = float(x.inverse ? -sin(angle) : sin(angle));
      }
      for (int64_t h = 0; h < heads; h++) {
        const float* from = x.x + (t * heads + h) * width;
        float* to = x.y + (t * heads + h) * width;
        if (x.interleaved) {
          for (int64_t i = 0; i < pairs; i++) {
            const float a = from[2 * i], b = from[2 * i + 1];
            to[2 * i] = a * cosine[i] - b * sine[i];
            to[2 * i + 1] = a * sine[i] + b * cosine[i];
          }
        } else {
          for (int64_t i = 0; i < pairs; i += kLanes) {
            const int64_t left = pairs - i;
            const Vec a = load_first(from + i, left), b = load_first(from + pairs + i, left);
            const Vec c = load_first(cosine + i, left), s = load_first(sine + i, left);
            store_first(to + i, a * c - b * s, left);
            store_first(to + pairs + i, a * s + b * c, left);
          }
        }
        if (to != from) memcpy(to + 2 * pairs, from + 2 * pairs, (width - 2 * pairs) * sizeof(float));
      }
    }
  });
}

FW_NAMESPACE_END
