// What wrong kernels begin with.
#pragma once
#include "wrong.h"

namespace {
using namespace fw::cuda;

struct XY {
  float *x, *y;
};

// Begins a kernel of `threads` threads whose shared memory is `Memory`.
template <int threads, class Memory>
struct Kernel {
  static constexpr int kThreads = threads;
  using Args = XY;
  using Shared = Memory;
};
struct Nothing {};

template <class K, int blocks>
void start(cudaStream_t stream, float* x, float* y) {
  launch<K>(Context{stream, nullptr}, blocks, {x, y});
}

}  // namespace

#define FW_WRONG(name, blocks, kind, ...) {#name, start<name, blocks>, kind, {__VA_ARGS__}, __FILE__}
