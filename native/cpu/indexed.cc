// Elements taken, or added to, where indices say.
#include "../whole.h"
#include "walk.h"

FW_NAMESPACE_BEGIN

static constexpr int64_t kGrain = 8192;

template <class T>
static void gather_elements(const Context& cx, const gatherArgs& args) {
  const T* x = static_cast<const T*>(args.x.data);
  const int32_t* index = args.index.ints();
  T* y = static_cast<T*>(args.y.data);
  const Dims y_strides = row_major(args.shape);
  const Walk<3> walk(args.shape, {&args.xStrides, &args.indexStrides, &y_strides});
  const int64_t x_step = walk.step(0), index_step = walk.step(1), step = args.step;
  parallel_blocks(cx, walk.size(), kGrain, [&](int64_t begin, int64_t end) {
    walk.rows(begin, end, [&](const int64_t* offset, int64_t length) {
      const T* from = x + offset[0];
      const int32_t* at = index + offset[1];
      T* to = y + offset[2];
      if (index_step == 0) {
        from += *at * step;
        for (int64_t i = 0; i < length; i++) to[i] = from[i * x_step];
      } else {
        for (int64_t i = 0; i < length; i++) to[i] = from[i * x_step + at[i * index_step] * step];
      }
    });
  });
}

void gather(const Context& cx, const gatherArgs& a) {
  switch (a.bytes) {
    case 1: return gather_elements<uint8_t>(cx, a);
    case 2: return gather_elements<uint16_t>(cx, a);
    case 4: return gather_elements<uint32_t>(cx, a);
    default: return cx.fail("gather: unknown size of elements");
  }
}

FW_INLINE float added(float a, float b) { return a + b; }
FW_INLINE int32_t added(int32_t a, int32_t b) { return wrappedSum(a, b); }

// A task owns a line (all indices but the last) and a range of the places that its indices lead to, and meets the
// elements in their order: where lines are few, several tasks read all of a line's indices.
template <class T>
static void scatter_elements(const Context& cx, const scatterAddArgs& args) {
  const T* x = static_cast<const T*>(args.x.data);
  const int32_t* index = args.index.ints();
  T* y = static_cast<T*>(args.y.data);
  const int64_t last = args.shape.rank - 1, n = args.shape[last];
  const int64_t x_step = args.xStrides[last], index_step = args.indexStrides[last], step = args.step;
  Dims lines_shape = args.shape;
  lines_shape.rank = last;
  const Walk<3> walk(lines_shape, {&args.xStrides, &args.indexStrides, &args.yStrides});
  const int64_t lines = walk.size(), enough = 4 * cx.threads;
  const int64_t most = lines >= enough || n < 4096 ? 1 : (enough + lines - 1) / lines;
  const int64_t range = args.limit / most + 1, ranges = (args.limit + range - 1) / range;
  parallel_blocks(cx, lines * ranges, ranges > 1 ? 1 : kGrain / (n + 1) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; task++) {
      const int64_t line = task / ranges, least = task % ranges * range;
      walk.rows(line, line + 1, [&](const int64_t* offset, int64_t) {
        const T* from = x + offset[0];
        const int32_t* at = index + offset[1];
        T* to = y + offset[2];
        for (int64_t i = 0; i < n; i++) {
          const int64_t place = at[i * index_step];
          if (place < least || place >= least + range) continue;
          T& sum = to[place * step];
          sum = added(sum, from[i * x_step]);
        }
      });
    }
  });
}

void scatterAdd(const Context& cx, const scatterAddArgs& a) {
  switch (a.y.dtype) {
    case kFloat32: return scatter_elements<float>(cx, a);
    case kInt32: return scatter_elements<int32_t>(cx, a);
    default: return cx.fail("scatterAdd: unknown dtype");
  }
}

FW_NAMESPACE_END
