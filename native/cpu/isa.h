// Included first by every CPU kernel source. Each source is compiled once per instruction set, with FW_ISA naming the
// namespace (portable, avx2, avx512, neon), so everything it defines must live in FW_NAMESPACE: an inline function
// shared between two instruction sets could be merged by the linker and run on a processor that lacks it. For the same
// reason kernel sources include no C++ standard header.
#pragma once
#include "../kernels.h"

#ifndef FW_ISA
#define FW_ISA portable
#endif
#define FW_NAMESPACE_BEGIN namespace fw { namespace FW_ISA {
#define FW_NAMESPACE_END } }
#define FW_INLINE static inline __attribute__((always_inline))

FW_NAMESPACE_BEGIN

// Runs body(i) for every i < tasks on the threads of the context.
template <class Body>
static void parallel(const Context& cx, int64_t tasks, const Body& body) {
  if (tasks <= 0) return;
  if (tasks == 1) return body(int64_t(0));
  cx.run(cx, tasks, [](void* data, int64_t i) { (*static_cast<const Body*>(data))(i); }, const_cast<Body*>(&body));
}

// Splits n items into blocks of `grain` and runs body(begin, end) for each.
template <class Body>
static void parallel_blocks(const Context& cx, int64_t n, int64_t grain, const Body& body) {
  parallel(cx, (n + grain - 1) / grain, [&](int64_t i) {
    int64_t begin = i * grain, end = begin + grain;
    body(begin, end < n ? end : n);
  });
}

// Declared here, defined in the family's source, gathered in table.cc.
#define FW_DECLARE(kernel) void kernel(const Context&, const kernel##Args&);
FW_KERNELS(FW_DECLARE)
#undef FW_DECLARE

FW_NAMESPACE_END
