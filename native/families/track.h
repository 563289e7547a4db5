// One head of one sequence, which a family walks from its first token to its last.
#pragma once
#include "../kernels.h"

// A word of the vocabulary, or a family's function made of them; and what a host says of memory, too. Never out of line:
// functions that two instruction sets share could be merged by the linker.
#ifdef __CUDACC__
#define FW_WORD __device__ __forceinline__
#define FW_LAYOUT __host__ __device__ __forceinline__
#else
#define FW_WORD inline __attribute__((always_inline))
#define FW_LAYOUT inline __attribute__((always_inline))
#endif

namespace fw {

struct Track {
  int64_t sequence, head, heads;
  int64_t begin, length;  // of its tokens among all

  FW_LAYOUT bool has(int64_t t) const { return t >= 0 && t < length; }
  // Where row t [width] of an operand [tokens, heads, width] lies.
  FW_LAYOUT int64_t row(int64_t t, int64_t width) const { return ((begin + t) * heads + head) * width; }
  // Where its part of an operand [sequences, heads, size] lies.
  FW_LAYOUT int64_t whole(int64_t size) const { return (sequence * heads + head) * size; }
};

// What token t has of two that tokens have by turns.
template <class T>
FW_WORD T turn(const T (&both)[2], int64_t t) {
  T own = both[0];
  if (t % 2 != 0) own = both[1];
  return own;
}

// By how many tokens a family says ahead what it will fetch and save.
constexpr int kAhead = 2;

// The two ways through a family, for drivers: the memory that each needs, and its walk along a track.
template <class Family>
struct Forward {
  using Args = typename Family::Args;
  using Layout = typename Family::Layout;
  using Memory = typename Family::Memory;
  template <class Engine>
  static FW_WORD void run(Engine& on, Memory& memory, const Layout& layout, const Args& a, const Track& at) {
    Family::forward(on, memory, layout, a, at);
  }
};
template <class Family>
struct Backward {
  using Args = typename Family::BackwardArgs;
  using Layout = typename Family::Layout;
  using Memory = typename Family::BackwardMemory;
  template <class Engine>
  static FW_WORD void run(Engine& on, Memory& memory, const Layout& layout, const Args& a, const Track& at) {
    Family::backward(on, memory, layout, a, at);
  }
};

}  // namespace fw
