// Reductions and running sums of int32 along one dimension: sums and products wrap, so that their order does not matter.
#pragma once
#include "../whole.h"
#include "isa.h"

FW_NAMESPACE_BEGIN

// Elements that one task reduces.
constexpr int64_t kWholeGrain = int64_t(1) << 15;

// Calls each(x, y) for the lines [n, inner] of every outer index, and where their results go.
template <class Each>
static void whole_lines(const Context& cx, const In& x, const Out& y, int64_t outer, int64_t n, int64_t inner,
                        int64_t results, const Each& each) {
  parallel_blocks(cx, outer, kWholeGrain / (n * inner + 1) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; o++) each(x.ints() + o * n * inner, y.ints() + o * results);
  });
}

template <class Merge>
static void fold_whole(const Context& cx, const reduceArgs& a, int32_t start, const Merge& merge) {
  const int64_t n = a.n, inner = a.inner;
  whole_lines(cx, a.x, a.y, a.outer, n, inner, inner, [&](const int32_t* x, int32_t* y) {
    for (int64_t j = 0; j < inner; j++) y[j] = start;
    if (inner == 1) {
      int32_t all = start;
      for (int64_t i = 0; i < n; i++) all = merge(all, x[i]);
      y[0] = all;
      return;
    }
    for (int64_t i = 0; i < n; i++, x += inner) {
      for (int64_t j = 0; j < inner; j++) y[j] = merge(y[j], x[j]);
    }
  });
}

static void reduce_whole(const Context& cx, const reduceArgs& a) {
  switch (a.op) {
    case kSum: return fold_whole(cx, a, 0, [](int32_t all, int32_t x) { return wrappedSum(all, x); });
    case kProd: return fold_whole(cx, a, 1, [](int32_t all, int32_t x) { return wrappedProduct(all, x); });
    case kMax: return fold_whole(cx, a, INT32_MIN, [](int32_t all, int32_t x) { return x > all ? x : all; });
    case kMin: return fold_whole(cx, a, INT32_MAX, [](int32_t all, int32_t x) { return x < all ? x : all; });
    default: return cx.fail("reduce: unknown operation of int32");
  }
}

static void argmax_whole(const Context& cx, const argmaxArgs& a) {
  const int64_t n = a.n, inner = a.inner;
  whole_lines(cx, a.x, a.y, a.outer, n, inner, inner, [&](const int32_t* x, int32_t* y) {
    for (int64_t j = 0; j < inner; j++) {
      int64_t best = 0;
      for (int64_t i = 1; i < n; i++)
        if (x[i * inner + j] > x[best * inner + j]) best = i;
      y[j] = int32_t(best);
    }
  });
}

static void cumsum_whole(const Context& cx, const cumsumArgs& a) {
  const int64_t n = a.n, inner = a.inner, step = a.reverse ? -inner : inner, first = a.reverse ? (n - 1) * inner : 0;
  whole_lines(cx, a.x, a.y, a.outer, n, inner, n * inner, [&](const int32_t* x, int32_t* y) {
    for (int64_t j = 0; j < inner && n > 0; j++) y[first + j] = x[first + j];
    for (int64_t i = 1, at = first + step; i < n; i++, at += step) {
      for (int64_t j = 0; j < inner; j++) y[at + j] = wrappedSum(y[at - step + j], x[at + j]);
    }
  });
}

FW_NAMESPACE_END
