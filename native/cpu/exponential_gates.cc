// Exponential gates with their running maximum: a walk along the tokens, several heads beside each other, and passes over
// all numbers for what is made of each by itself.
#include <math.h>
#include <string.h>

#include "vec.h"

FW_NAMESPACE_BEGIN

constexpr int64_t kGrain = 4096, kWalkHeads = 16;

// Vectors of [0, n), the last of which may be short: each(at, how many are left).
template <class Each>
static void each_vector(const Context& cx, int64_t n, const Each& each) {
  parallel_blocks(cx, n, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += kLanes) each(i, end - i);
  });
}

// The tokens [begin, end) of some heads of a sequence; the first of them stands at `line` among those of all sequences.
struct Piece {
  int64_t begin, end, head, heads, line;
};
template <class Args, class Walk>
static void each_piece(const Context& cx, const Args& a, const Walk& walk) {
  const int32_t* offsets = a.offsets.ints();
  const int64_t pieces = (a.heads + kWalkHeads - 1) / kWalkHeads;
  parallel(cx, a.sequences * pieces, [&](int64_t i) {
    const int64_t n = i / pieces, head = i % pieces * kWalkHeads, left = a.heads - head;
    const int64_t begin = offsets ? offsets[n] : n * a.tokens, end = offsets ? offsets[n + 1] : begin + a.tokens;
    walk(Piece{begin, end, head, left < kWalkHeads ? left : kWalkHeads, n * a.heads + head});
  });
}

template <class Args>
static int64_t gates_in(const Args& a) {
  return (a.offsets.data ? 1 : a.sequences) * a.tokens * a.heads;
}

void exponentialGates(const Context& cx, const exponentialGatesArgs& a) {
  const float *input = a.inputGate, *forget = a.forgetGate;
  float *gate = a.gate, *beta = a.beta, *max = a.max, *final = a.finalMax;
  const int64_t size = gates_in(a), heads = a.heads;
  if (a.logSigmoid) {
    each_vector(cx, size, [&](int64_t i, int64_t left) {
      store_first(gate + i, -softplus_of(-load_first(forget + i, left)), left);
    });
  } else {
    memcpy(gate, forget, static_cast<size_t>(size * 4));
  }
  each_piece(cx, a, [&](const Piece& piece) {
    // Gates go by m as it is stored, so that its roundings cancel.
    double exact[kWalkHeads];
    float before[kWalkHeads];
    for (int64_t h = 0; h < piece.heads; h++)
      exact[h] = before[h] = a.initialMax.data ? a.initialMax[piece.line + h] : 0;
    for (int64_t t = piece.begin; t < piece.end; t++) {
      const int64_t at = t * heads + piece.head;
      for (int64_t h = 0; h < piece.heads; h++) {
        const double decay = gate[at + h], in = input[at + h], carried = decay == -INFINITY ? decay : decay + exact[h];
        exact[h] = carried > in || carried != carried ? carried : in;
        const float m = static_cast<float>(exact[h]);
        gate[at + h] = before[h] - m + gate[at + h];
        max[at + h] = before[h] = m;
      }
    }
    for (int64_t h = 0; h < piece.heads; h++) final[piece.line + h] = before[h];
  });
  each_vector(cx, size, [&](int64_t i, int64_t left) {
    store_first(beta + i, vexp_full(load_first(input + i, left) - load_first(max + i, left)), left);
  });
}

void exponentialGatesBackward(const Context& cx, const exponentialGatesBackwardArgs& a) {
  const float *input = a.inputGate, *forget = a.forgetGate, *beta = a.beta, *max = a.max;
  const float *dgate = a.dgate, *dbeta = a.dbeta, *dmax = a.dmax;
  float *dinput = a.dinputGate, *dforget = a.dforgetGate;
  const int64_t heads = a.heads;
  each_piece(cx, a, [&](const Piece& piece) {
    float reaching[kWalkHeads];
    for (int64_t h = 0; h < piece.heads; h++) reaching[h] = a.dfinalMax[piece.line + h];
    for (int64_t t = piece.end - 1; t >= piece.begin; t--) {
      const int64_t at = t * heads + piece.head;
      for (int64_t h = 0; h < piece.heads; h++) {
        const float all = reaching[h] + dmax[at + h];
        const bool carried = max[at + h] > input[at + h];
        reaching[h] = carried ? all : 0;
        dinput[at + h] = carried ? 0 : all;
        dforget[at + h] = dgate[at + h] + reaching[h];
      }
    }
    if (!a.dinitialMax.data) return;
    const int64_t first = piece.begin * heads + piece.head;
    for (int64_t h = 0; h < piece.heads; h++)
      a.dinitialMax[piece.line + h] = reaching[h] + (piece.begin < piece.end ? dgate[first + h] : 0);
  });
  each_vector(cx, gates_in(a), [&](int64_t i, int64_t left) {
    const auto at = [&](const float* x) { return load_first(x + i, left); };
    store_first(dinput + i, fma(at(dbeta), at(beta), at(dinput)), left);
    if (a.logSigmoid) store_first(dforget + i, at(dforget) * sigmoid_of(-at(forget)), left);
  });
}

FW_NAMESPACE_END
