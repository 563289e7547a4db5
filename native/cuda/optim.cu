// Optimiser steps over all parameters, and the sum of squares of gradients: elements of many tensors in few launches.
#include "fold.cuh"

namespace fw::cuda {
namespace {

// Tensors of one launch (their places travel in its arguments, at most 4 KB), and elements of one block.
constexpr int kItems = 32;
constexpr int64_t kElements = 16 * kLineThreads;

// The same kItems items, or fewer, of some lists of tensors of the same sizes.
template <int kLists>
struct Items {
  Span tensors[kLists][kItems];
  int64_t ends[kItems];  // blocks of each item and those before it
  int64_t count, blocks;

  // Calls body(item, i) for this thread's elements i of the block's item.
  template <class Body>
  FW_DEVICE void each(const Body& body) const {
    int item = 0;
    while (block() >= ends[item]) item++;
    const int64_t size = tensors[0][item].size, before = item > 0 ? ends[item - 1] : 0;
    const int64_t begin = (block() - before) * kElements, end = begin + kElements < size ? begin + kElements : size;
    for (int64_t i = begin + thread(); i < end; i += kLineThreads) body(item, i);
  }
};

// Calls body(items) for every kItems items of the lists; one that is empty stays so.
template <int kLists, class Body>
void for_items(const List* const (&lists)[kLists], const Body& body) {
  for (int64_t begin = 0; begin < lists[0]->count; begin += kItems) {
    Items<kLists> items{};
    items.count = lists[0]->count - begin < kItems ? lists[0]->count - begin : kItems;
    for (int64_t i = 0; i < items.count; i++) {
      for (int l = 0; l < kLists; l++)
        if (lists[l]->count > 0) items.tensors[l][i] = (*lists[l])[begin + i];
      items.blocks += ceil_div(items.tensors[0][i].size, kElements);
      items.ends[i] = items.blocks;
    }
    body(items);
  }
}

struct Adam {
  static constexpr int kThreads = kLineThreads;
  struct Args {
    Items<4> items;  // parameters, gradients, means, squares
    In gradientScale;
    float beta1, rest1, beta2, rest2, step, root, eps, coupled, keep;
  };
  struct Shared {};

  static FW_DEVICE void run(const Args& x, Shared&) {
    const float scale = x.gradientScale.data ? load(x.gradientScale, 0) : 1.0f;
    if (scale != scale) return;
    x.items.each([&](int item, int64_t i) {
      const auto& [parameters, gradients, means, squares] = x.items.tensors;
      const float p = load(parameters[item], i), g = fmaf(x.coupled, p, scale * load(gradients[item], i));
      const float m = fmaf(x.beta1, load(means[item], i), x.rest1 * g);
      const float v = fmaf(x.beta2, load(squares[item], i), x.rest2 * g * g);
      store(means[item], i, m);
      store(squares[item], i, v);
      store(parameters[item], i, x.keep * p - x.step * m / fmaf(sqrtf(v), x.root, x.eps));
    });
  }
};

struct Sgd {
  static constexpr int kThreads = kLineThreads;
  struct Args {
    Items<3> items;  // parameters, gradients, momentum buffers or none
    In gradientScale;
    float rate, momentum, decay;
    bool nesterov;
  };
  struct Shared {};

  static FW_DEVICE void run(const Args& x, Shared&) {
    const float scale = x.gradientScale.data ? load(x.gradientScale, 0) : 1.0f;
    if (scale != scale) return;
    x.items.each([&](int item, int64_t i) {
      const auto& [parameters, gradients, buffers] = x.items.tensors;
      const float p = load(parameters[item], i);
      float g = fmaf(x.decay, p, scale * load(gradients[item], i));
      if (buffers[item].data) {
        const float b = fmaf(x.momentum, load(buffers[item], i), g);
        store(buffers[item], i, b);
        g = x.nesterov ? fmaf(x.momentum, b, g) : b;
      }
      store(parameters[item], i, p - x.rate * g);
    });
  }
};

// partials[block] = the block's sum of squares.
struct SquaresOfBlocks {
  static constexpr int kThreads = kLineThreads;
  struct Args {
    Items<1> items;
    Sum* partials;
  };
  struct Shared {
    Sum slots[kLineWarps];
  };

  static FW_DEVICE void run(const Args& x, Shared& shared) {
    Sum sum;
    x.items.each([&](int item, int64_t i) {
      const float v = load(x.items.tensors[0][item], i);
      sum.add(v * v);
    });
    sum = gather<kLineThreads>(sum, shared.slots, Added{});
    if (thread() == 0) x.partials[block()] = sum;
  }
};

}  // namespace

void adam(const Context& cx, const adamArgs& x) {
  Adam::Args args{};
  args.gradientScale = x.gradientScale;
  args.beta1 = static_cast<float>(x.beta1);
  args.rest1 = static_cast<float>(1 - x.beta1);
  args.beta2 = static_cast<float>(x.beta2);
  args.rest2 = static_cast<float>(1 - x.beta2);
  args.step = static_cast<float>(x.learningRate / x.correction1);
  args.root = static_cast<float>(1 / sqrt(x.correction2));
  args.eps = static_cast<float>(x.eps);
  args.coupled = static_cast<float>(x.coupled ? x.weightDecay : 0);
  args.keep = static_cast<float>(x.coupled ? 1 : 1 - x.learningRate * x.weightDecay);
  for_items<4>({&x.parameters, &x.gradients, &x.means, &x.squares}, [&](const Items<4>& items) {
    args.items = items;
    launch<Adam>(cx, items.blocks, args);
  });
}

void sgd(const Context& cx, const sgdArgs& x) {
  for_items<3>({&x.parameters, &x.gradients, &x.momentumBuffers}, [&](const Items<3>& items) {
    launch<Sgd>(cx, items.blocks, {items, x.gradientScale, static_cast<float>(x.learningRate),
                                   static_cast<float>(x.momentum), static_cast<float>(x.weightDecay), x.nesterov != 0});
  });
}

void sumSquares(const Context& cx, const sumSquaresArgs& x) {
  int64_t blocks = 0;
  for (int64_t i = 0; i < x.x.count; i++) blocks += ceil_div(x.x[i].size, kElements);
  Sum* partials = cx.scratch_of<Sum>(blocks);
  int64_t begin = 0;
  for_items<1>({&x.x}, [&](const Items<1>& items) {
    launch<SquaresOfBlocks>(cx, items.blocks, {items, partials + begin});
    begin += items.blocks;
  });
  fold<kLineThreads>(cx, Partials{partials, 1}, 1, blocks, kSum, 1, x.y);
}

}  // namespace fw::cuda
