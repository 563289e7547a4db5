// What each kernel touches of its operands, in elements, compared with what they hold: a call whose numbers and buffers do
// not fit is refused before it is queued. The shapes stand in lib/backends/table.ts. What depends on the contents of a
// buffer (indices, offsets of packed sequences) is checked in the queue; see contents.h.
#pragma once
#include <initializer_list>
#include <stdexcept>
#include <string>

#include "../kernels.h"

namespace fw {

class Extents {
 public:
  // Of sizes, none of them negative; what no memory holds is refused.
  int64_t product(std::initializer_list<int64_t> sizes) const {
    int64_t n = 1;
    for (const int64_t size : sizes) {
      if (size < 0) refuse("a size", "is negative");
      if (__builtin_mul_overflow(n, size, &n)) refuse("a size", "is larger than any memory");
    }
    return n;
  }

  // From the first to the last element of a strided view.
  int64_t reach(const Dims& shape, const Dims& strides) const {
    if (shape.rank != strides.rank) refuse("shape", "has another rank than its strides");
    int64_t last = 0;
    for (int64_t i = 0; i < shape.rank; i++) {
      if (shape[i] == 0) return 0;
      if (__builtin_add_overflow(last, product({shape[i] - 1, strides[i]}), &last)) refuse("strides", "overflow");
    }
    return last + 1;
  }

  // Absent operands of `Maybe` fit everything.
  template <class Operand>
  void holds(const char* name, const Operand& x, int64_t count) const {
    if (x.data && x.size < count) refuse_size(name, x.size, count);
  }
  template <class Operand>
  void floats(const char* name, const Operand& x, int64_t count) const {
    typed(name, x, x.dtype == kFloat32 || x.dtype == kBfloat16);
    holds(name, x, count);
  }
  template <class Operand>
  void ints(const char* name, const Operand& x, int64_t count) const {
    typed(name, x, x.dtype == kInt32);
    holds(name, x, count);
  }
  template <class Operand>
  void bools(const char* name, const Operand& x, int64_t count) const {
    typed(name, x, x.dtype == kBool);
    holds(name, x, count);
  }
  // int32 or a float.
  template <class Operand>
  void numbers(const char* name, const Operand& x, int64_t count) const {
    typed(name, x, x.dtype != kBool);
    holds(name, x, count);
  }
  // float32 where the kernel rounds nothing.
  template <class Operand>
  void singles(const char* name, const Operand& x, int64_t count) const {
    typed(name, x, x.dtype == kFloat32);
    holds(name, x, count);
  }

  // [tokens, heads, width] for a kernel with `heads` heads, a multiple of the operand's own.
  void heads(const char* name, const Heads& x, int64_t tokens, int64_t heads, int64_t width) const {
    if (!x.data || tokens == 0 || heads == 0 || width == 0) return;
    if (x.count != heads && (x.count <= 0 || heads % x.count != 0)) {
      refuse(name, "has heads that do not divide those of the kernel");
    }
    if ((tokens | heads | width | x.token | x.head) < 0) refuse(name, "has a size or stride that is negative");
    int64_t across_tokens, across_heads, count;
    if (__builtin_mul_overflow(tokens - 1, x.token, &across_tokens) ||
        __builtin_mul_overflow(x.count - 1, x.head, &across_heads) ||
        __builtin_add_overflow(across_tokens, across_heads, &count) || __builtin_add_overflow(count, width, &count)) {
      refuse(name, "has strides larger than any memory");
    }
    floats(name, x, count);
  }

  void within(const char* name, int64_t code, int64_t most) const {
    if (code < 0 || code > most) refuse_code(name, code);
  }

  int64_t count(const Dims& shape) const {
    int64_t n = 1;
    for (int64_t i = 0; i < shape.rank; i++) n = product({n, shape[i]});
    return n;
  }

  static int64_t bytes_of(DType dtype) { return dtype == kBool ? 1 : dtype == kBfloat16 ? 2 : 4; }
  void moves(const In& x, const Out& y, int64_t bytes) const {
    if (x.dtype != y.dtype || bytes != bytes_of(x.dtype)) refuse("bytes", "are not those of x and y");
  }

  void same_lengths(const char* name, const List& a, const List& b) const {
    if (a.count != b.count) refuse(name, "is a list of another length");
    for (int64_t i = 0; i < a.count; i++) {
      if (a[i].size != b[i].size) refuse(name, "has an item of another size");
    }
  }

  // Out of line: what is refused must not weigh on what is not.
  [[noreturn, gnu::cold, gnu::noinline]] static void refuse(const char* name, const char* reason) {
    throw std::invalid_argument(std::string(name) + " " + reason);
  }
  [[noreturn, gnu::cold, gnu::noinline]] static void refuse_size(const char* name, int64_t size, int64_t count) {
    throw std::invalid_argument(std::string(name) + " holds " + std::to_string(size) + " elements of the " +
                                std::to_string(count) + " that are used");
  }
  [[noreturn, gnu::cold, gnu::noinline]] static void refuse_code(const char* name, int64_t code) {
    throw std::invalid_argument(std::string(name) + " is " + std::to_string(code) + ", which names nothing");
  }

 private:
  template <class Operand>
  void typed(const char* name, const Operand& x, bool fits) const {
    if (x.data && !fits) refuse(name, "has a dtype that the kernel does not take");
  }
};

#define FW_CHECK(kernel) inline void check_extents(const kernel##Args& a, const Extents& e = {})
#define FW_FLOATS(field, ...) e.floats(#field, a.field, e.product({__VA_ARGS__}))
#define FW_SINGLES(field, ...) e.singles(#field, a.field, e.product({__VA_ARGS__}))
#define FW_INTS(field, ...) e.ints(#field, a.field, e.product({__VA_ARGS__}))
#define FW_HEADS(field, tokens, width) e.heads(#field, a.field, tokens, a.heads, width)

FW_CHECK(fill) {
  if (a.y.dtype != a.dtype) e.refuse("dtype", "is not that of y");
  e.holds("y", a.y, e.product({a.n}));
}
FW_CHECK(cast) {
  if (a.x.dtype != a.from || a.y.dtype != a.to) e.refuse("from, to", "are not the dtypes of x and y");
  e.holds("x", a.x, e.product({a.n}));
  e.holds("y", a.y, a.n);
}
FW_CHECK(copy) {
  e.moves(a.x, a.y, a.bytes);
  e.holds("x", a.x, e.reach(a.shape, a.xStrides));
  e.holds("y", a.y, e.reach(a.shape, a.yStrides));
}
FW_CHECK(unary) {
  e.within("op", a.op, kSign);
  FW_FLOATS(x, a.n);
  FW_FLOATS(y, a.n);
}
FW_CHECK(unaryBackward) {
  e.within("op", a.op, kSign);
  FW_FLOATS(x, a.n);
  FW_FLOATS(y, a.n);
  FW_FLOATS(dy, a.n);
  FW_FLOATS(dx, a.n);
}
FW_CHECK(binary) {
  e.within("op", a.op, kAtan2);
  if (a.dtype == kInt32 && (a.op == kDiv || a.op == kAtan2)) e.refuse("op", "is one that int32 has not");
  if (a.a.dtype != a.dtype || a.b.dtype != a.dtype || a.y.dtype != a.dtype) {
    e.refuse("dtype", "is not that of a, b and y");
  }
  e.numbers("a", a.a, e.reach(a.shape, a.aStrides));
  e.numbers("b", a.b, e.reach(a.shape, a.bStrides));
  e.holds("y", a.y, e.count(a.shape));
}
FW_CHECK(compare) {
  e.within("op", a.op, kGe);
  if (a.a.dtype != a.dtype || a.b.dtype != a.dtype) e.refuse("dtype", "is not that of a and b");
  e.holds("a", a.a, e.reach(a.shape, a.aStrides));
  e.holds("b", a.b, e.reach(a.shape, a.bStrides));
  e.bools("y", a.y, e.count(a.shape));
}
FW_CHECK(where) {
  if (a.a.dtype != a.b.dtype) e.refuse("b", "is not of the dtype of a");
  e.moves(a.a, a.y, a.bytes);
  e.bools("condition", a.condition, e.reach(a.shape, a.conditionStrides));
  e.holds("a", a.a, e.reach(a.shape, a.aStrides));
  e.holds("b", a.b, e.reach(a.shape, a.bStrides));
  e.holds("y", a.y, e.count(a.shape));
}

// From the first to the last element of a strided view that indices below `limit` lead into.
template <class Args>
int64_t indexed_reach(const Extents& e, const Args& a, const Dims& strides) {
  const int64_t inside = e.reach(a.shape, strides), along = e.product({a.limit, a.step});
  if (inside == 0 || a.limit == 0) return 0;
  int64_t all;
  if (__builtin_add_overflow(inside, along - a.step, &all)) e.refuse("strides", "overflow");
  return all;
}
FW_CHECK(gather) {
  e.moves(a.x, a.y, a.bytes);
  e.holds("x", a.x, indexed_reach(e, a, a.xStrides));
  e.ints("index", a.index, e.reach(a.shape, a.indexStrides));
  e.holds("y", a.y, e.count(a.shape));
}
FW_CHECK(scatterAdd) {
  if (a.shape.rank < 1 || a.yStrides[a.shape.rank - 1] != 0) e.refuse("yStrides", "do not end in 0");
  if (a.x.dtype != a.y.dtype) e.refuse("y", "is not of the dtype of x");
  e.numbers("x", a.x, e.reach(a.shape, a.xStrides));
  e.ints("index", a.index, e.reach(a.shape, a.indexStrides));
  e.holds("y", a.y, indexed_reach(e, a, a.yStrides));
}
FW_CHECK(argsort) {
  if (a.n > INT32_MAX) e.refuse("n", "is more than positions count");
  e.numbers("x", a.x, e.product({a.outer, a.n, a.inner}));
  FW_INTS(y, a.outer, a.n, a.inner);
}
FW_CHECK(reduce) {
  e.within("op", a.op, kProd);
  if (a.x.dtype == kInt32 && a.op == kMean) e.refuse("op", "is mean, which int32 has not");
  if (a.x.dtype != a.y.dtype) e.refuse("y", "is not of the dtype of x");
  e.numbers("x", a.x, e.product({a.outer, a.n, a.inner}));
  e.holds("y", a.y, e.product({a.outer, a.inner}));
}
FW_CHECK(argmax) {
  e.numbers("x", a.x, e.product({a.outer, a.n, a.inner}));
  FW_INTS(y, a.outer, a.inner);
}
FW_CHECK(cumsum) {
  if (a.x.dtype != a.y.dtype) e.refuse("y", "is not of the dtype of x");
  e.numbers("x", a.x, e.product({a.outer, a.n, a.inner}));
  e.holds("y", a.y, e.product({a.outer, a.n, a.inner}));
}
FW_CHECK(scan) {
  e.within("op", a.op, kLogSumExpScan);
  if ((a.op == kLogSumExpScan) == (a.factor.data != nullptr)) e.refuse("factor", "is given to all scans but logsumexp");
  FW_FLOATS(x, a.outer, a.n, a.inner);
  FW_FLOATS(factor, a.outer, a.n, a.inner);
  FW_FLOATS(y, a.outer, a.n, a.inner);
}
FW_CHECK(softmax) {
  FW_FLOATS(x, a.rows, a.n);
  FW_FLOATS(y, a.rows, a.n);
}
FW_CHECK(softmaxBackward) {
  FW_FLOATS(y, a.rows, a.n);
  FW_FLOATS(dy, a.rows, a.n);
  FW_FLOATS(dx, a.rows, a.n);
}
FW_CHECK(norm) {
  e.within("kind", a.kind, kBySum);
  if (a.groups < 1) e.refuse("groups", "is less than 1");
  FW_FLOATS(x, a.rows, a.n);
  FW_FLOATS(weight, a.groups, a.n);
  FW_FLOATS(bias, a.groups, a.n);
  FW_FLOATS(y, a.rows, a.n);
  FW_SINGLES(stats, a.rows, 2);
}
FW_CHECK(normBackward) {
  e.within("kind", a.kind, kBySum);
  if (a.groups < 1) e.refuse("groups", "is less than 1");
  FW_FLOATS(x, a.rows, a.n);
  FW_FLOATS(weight, a.groups, a.n);
  FW_SINGLES(stats, a.rows, 2);
  FW_FLOATS(dy, a.rows, a.n);
  FW_FLOATS(dx, a.rows, a.n);
  FW_FLOATS(dweight, a.groups, a.n);
  FW_FLOATS(dbias, a.groups, a.n);
}
FW_CHECK(embedding) {
  FW_FLOATS(weight, a.vocabulary, a.d);
  FW_INTS(indices, a.rows);
  FW_FLOATS(y, a.rows, a.d);
}
FW_CHECK(embeddingBackward) {
  FW_INTS(indices, a.rows);
  FW_FLOATS(dy, a.rows, a.d);
  FW_FLOATS(dweight, a.vocabulary, a.d);
}

// Packed sequences: `tokens` counts all of them.
template <class Args>
int64_t all_tokens(const Extents& e, const Args& a) {
  e.ints("offsets", a.offsets, e.product({a.sequences}) + 1);
  return a.offsets.data ? e.product({a.tokens}) : e.product({a.sequences, a.tokens});
}

template <class Args>
int64_t conv_sizes(const Extents& e, const Args& a) {
  e.within("activation", a.activation, kSiluActivation);
  if (a.width < 1) e.refuse("width", "is less than 1");
  const int64_t tokens = all_tokens(e, a);
  if (tokens > 0 && a.d > 1 && (a.x.count != a.d || a.x.head != 1)) e.refuse("x", "has channels that are not side by side");
  e.floats("x", a.x, e.reach({2, {tokens, a.d}}, {2, {a.x.token, 1}}));
  FW_FLOATS(weight, a.d, a.width);
  FW_FLOATS(bias, a.d);
  FW_FLOATS(initialState, a.sequences, a.d, a.width - 1);
  return tokens;
}
FW_CHECK(shortConv) {
  const int64_t tokens = conv_sizes(e, a);
  FW_FLOATS(y, tokens, a.d);
  FW_FLOATS(finalState, a.sequences, a.d, a.width - 1);
}
FW_CHECK(shortConvBackward) {
  const int64_t tokens = conv_sizes(e, a);
  FW_FLOATS(dy, tokens, a.d);
  FW_FLOATS(dfinalState, a.sequences, a.d, a.width - 1);
  FW_FLOATS(dx, tokens, a.d);
  FW_FLOATS(dweight, a.d, a.width);
  FW_FLOATS(dbias, a.d);
  FW_FLOATS(dinitialState, a.sequences, a.d, a.width - 1);
}
FW_CHECK(shortConvStep) {
  e.within("activation", a.activation, kSiluActivation);
  if (a.width < 1) e.refuse("width", "is less than 1");
  FW_FLOATS(x, a.batch, a.d);
  FW_FLOATS(weight, a.d, a.width);
  FW_FLOATS(bias, a.d);
  FW_FLOATS(state, a.batch, a.d, a.width - 1);
  FW_FLOATS(y, a.batch, a.d);
}
FW_CHECK(matmul) {
  const auto view = [&](int64_t rows, int64_t columns, const Dims& strides) {
    return e.reach({4, {a.batch1, a.batch2, rows, columns}}, strides);
  };
  e.floats("a", a.a, view(a.m, a.k, a.aStrides));
  e.floats("b", a.b, view(a.k, a.n, a.bStrides));
  e.floats("c", a.c, view(a.m, a.n, a.cStrides));
}
FW_CHECK(linear) {
  e.within("activation", a.activation, kSiluActivation);
  FW_FLOATS(x, a.rows, a.k);
  FW_FLOATS(weight, a.n, a.k);
  FW_FLOATS(bias, a.n);
  FW_FLOATS(residual, a.rows, a.n);
  FW_FLOATS(y, a.rows, a.n);
  FW_FLOATS(preactivation, a.rows, a.n);
}
FW_CHECK(quantizedLinear) {
  e.within("activation", a.activation, kSiluActivation);
  e.within("format", a.format, kInt8Weights);
  FW_FLOATS(x, a.rows, a.k);
  const int64_t panels = a.n / 64 + (a.n % 64 != 0), words = a.format == kInt8Weights ? 16 : 32;
  e.ints("weight", a.weight, e.product({panels, a.k, words}));
  e.singles("scale", a.scale, e.product({a.n}));
  FW_FLOATS(bias, a.n);
  FW_FLOATS(residual, a.rows, a.n);
  FW_FLOATS(y, a.rows, a.n);
}
FW_CHECK(feedForward) {
  FW_FLOATS(x, a.rows, a.d);
  FW_FLOATS(gateWeight, a.hidden, a.d);
  FW_FLOATS(upWeight, a.hidden, a.d);
  FW_FLOATS(downWeight, a.d, a.hidden);
  FW_FLOATS(residual, a.rows, a.d);
  FW_FLOATS(y, a.rows, a.d);
  if ((a.gate.data == nullptr) != (a.up.data == nullptr)) e.refuse("gate, up", "are to be given together");
  FW_FLOATS(gate, a.rows, a.hidden);
  FW_FLOATS(up, a.rows, a.hidden);
}
FW_CHECK(feedForwardBackward) {
  FW_FLOATS(gateWeight, a.hidden, a.d);
  FW_FLOATS(upWeight, a.hidden, a.d);
  FW_FLOATS(downWeight, a.d, a.hidden);
  FW_FLOATS(gate, a.rows, a.hidden);
  FW_FLOATS(up, a.rows, a.hidden);
  FW_FLOATS(dy, a.rows, a.d);
  FW_FLOATS(activated, a.rows, a.hidden);
  FW_FLOATS(dgate, a.rows, a.hidden);
  FW_FLOATS(dup, a.rows, a.hidden);
  FW_FLOATS(dx, a.rows, a.d);
}
FW_CHECK(random) {
  e.within("kind", a.kind, 2);
  if (a.kind < 2) FW_FLOATS(y, a.n);
  else FW_INTS(y, a.n);
}
FW_CHECK(dropout) {
  FW_FLOATS(x, a.n);
  FW_FLOATS(y, a.n);
}
FW_CHECK(crossEntropy) {
  FW_FLOATS(logits, a.rows, a.n);
  FW_INTS(target, a.rows);
  FW_SINGLES(loss, a.rows);
  FW_SINGLES(lse, a.rows);
}
FW_CHECK(crossEntropyBackward) {
  FW_FLOATS(logits, a.rows, a.n);
  FW_INTS(target, a.rows);
  FW_SINGLES(lse, a.rows);
  FW_SINGLES(dloss, a.rows);
  FW_FLOATS(dlogits, a.rows, a.n);
}
FW_CHECK(rope) {
  if (e.product({a.pairs, 2}) > a.width) e.refuse("pairs", "are more than half of the width");
  FW_FLOATS(x, a.tokens, a.heads, a.width);
  FW_FLOATS(y, a.tokens, a.heads, a.width);
  FW_INTS(positions, a.tokens);
  FW_SINGLES(frequencies, a.pairs);
}

// Returns the rows of queries.
template <class Args>
int64_t attention_sizes(const Extents& e, const Args& a) {
  if (a.heads < 1 || a.keyHeads < 1 || a.heads % a.keyHeads != 0) e.refuse("keyHeads", "do not divide heads");
  const int64_t tokens = all_tokens(e, a), keys = a.offsets.data ? tokens : e.product({a.sequences, a.keys});
  if (a.offsets.data ? a.keys != a.tokens : a.keys < a.tokens) e.refuse("keys", "are fewer than tokens, or packed apart");
  FW_FLOATS(q, tokens, a.heads, a.keyDim);
  FW_FLOATS(k, keys, a.keyHeads, a.keyDim);
  FW_FLOATS(v, keys, a.keyHeads, a.valueDim);
  FW_FLOATS(y, tokens, a.heads, a.valueDim);
  FW_SINGLES(lse, tokens, a.heads);
  return tokens;
}
FW_CHECK(attention) { attention_sizes(e, a); }
FW_CHECK(attentionBackward) {
  const int64_t tokens = attention_sizes(e, a), keys = a.offsets.data ? tokens : a.sequences * a.keys;
  FW_FLOATS(dy, tokens, a.heads, a.valueDim);
  FW_FLOATS(dq, tokens, a.heads, a.keyDim);
  FW_FLOATS(dk, keys, a.keyHeads, a.keyDim);
  FW_FLOATS(dv, keys, a.keyHeads, a.valueDim);
}
FW_CHECK(lstmCell) {
  FW_FLOATS(gates, a.rows, 4, a.d);
  FW_FLOATS(cell, a.rows, a.d);
  FW_FLOATS(newCell, a.rows, a.d);
  FW_FLOATS(hidden, a.rows, a.d);
}
FW_CHECK(lstmCellBackward) {
  FW_FLOATS(gates, a.rows, 4, a.d);
  FW_FLOATS(cell, a.rows, a.d);
  FW_FLOATS(newCell, a.rows, a.d);
  FW_FLOATS(dhidden, a.rows, a.d);
  FW_FLOATS(dnewCell, a.rows, a.d);
  FW_FLOATS(dgates, a.rows, 4, a.d);
  FW_FLOATS(dcell, a.rows, a.d);
}

FW_CHECK(exponentialGates) {
  const int64_t tokens = all_tokens(e, a);
  FW_SINGLES(inputGate, tokens, a.heads);
  FW_SINGLES(forgetGate, tokens, a.heads);
  FW_SINGLES(initialMax, a.sequences, a.heads);
  FW_SINGLES(gate, tokens, a.heads);
  FW_SINGLES(beta, tokens, a.heads);
  FW_SINGLES(max, tokens, a.heads);
  FW_SINGLES(finalMax, a.sequences, a.heads);
}
FW_CHECK(exponentialGatesBackward) {
  const int64_t tokens = all_tokens(e, a);
  FW_SINGLES(inputGate, tokens, a.heads);
  FW_SINGLES(forgetGate, tokens, a.heads);
  FW_SINGLES(beta, tokens, a.heads);
  FW_SINGLES(max, tokens, a.heads);
  FW_SINGLES(dgate, tokens, a.heads);
  FW_SINGLES(dbeta, tokens, a.heads);
  FW_SINGLES(dmax, tokens, a.heads);
  FW_SINGLES(dfinalMax, a.sequences, a.heads);
  FW_SINGLES(dinputGate, tokens, a.heads);
  FW_SINGLES(dforgetGate, tokens, a.heads);
  FW_SINGLES(dinitialMax, a.sequences, a.heads);
}

// The operands that sequences and steps share. `tokens` are those of all sequences; `values` how many v has.
template <class Args>
void recurrence_operands(const Extents& e, const Args& a, int64_t tokens, int64_t values) {
  e.within("eraseFrom", a.eraseFrom, kEraseUndecayed);
  if (a.gate.data && a.gateWidth != 1 && a.gateWidth != a.keyDim) e.refuse("gateWidth", "is neither 1 nor keyDim");
  if (a.beta.data && a.betaWidth != 1 && a.betaWidth != a.valueDim) e.refuse("betaWidth", "is neither 1 nor valueDim");
  // A gate per key, of no keys, is there and has no width.
  if (!a.gate.data && a.gateWidth != 0) e.refuse("gateWidth", "is that of a gate that is not there");
  if (!a.beta.data && a.betaWidth != 0) e.refuse("betaWidth", "is that of a beta that is not there");
  FW_HEADS(q, tokens, a.exchanged ? a.valueDim : a.keyDim);
  FW_HEADS(k, tokens, a.keyDim);
  FW_HEADS(v, tokens, values);
  FW_HEADS(gate, tokens, a.gateWidth);
  FW_HEADS(beta, tokens, a.betaWidth);
  FW_HEADS(eraseKey, tokens, a.keyDim);
  FW_HEADS(writeKey, tokens, a.keyDim);
  FW_FLOATS(bonus, a.heads, a.keyDim);
}
// How many values v and the output have: a normaliser's own is in neither.
template <class Args>
int64_t recurrence_values(const Extents& e, const Args& a) {
  if (!a.max.data) return a.valueDim;
  if (a.exchanged || a.secondWrite || a.bonus.data || a.betaWidth > 1 || a.eraseFrom != kEraseNone || a.readBefore)
    e.refuse("max", "is that of a rule that adds values, by one strength per token, and reads them afterwards");
  if (a.valueDim < 1) e.refuse("valueDim", "has no room for the normaliser");
  if (!a.sums.data) e.refuse("sums", "are not there");
  return a.valueDim - 1;
}
template <class Args>
int64_t recurrence_sizes(const Extents& e, const Args& a) {
  const int64_t tokens = all_tokens(e, a), values = recurrence_values(e, a);
  if (a.checkpointEvery < 1) e.refuse("checkpointEvery", "is less than 1");
  recurrence_operands(e, a, tokens, values);
  FW_SINGLES(max, tokens, a.heads);
  FW_FLOATS(output, tokens, a.heads, a.exchanged ? a.keyDim : values);
  FW_SINGLES(sums, tokens, a.heads);
  FW_FLOATS(initialState, a.sequences, a.heads, a.keyDim, a.valueDim);
  const int64_t checkpoints = a.tokens / a.checkpointEvery + (a.tokens % a.checkpointEvery != 0);
  if (!a.offsets.data) FW_FLOATS(states, a.sequences, checkpoints, a.heads, a.keyDim, a.valueDim);
  FW_FLOATS(written, tokens, a.heads, a.valueDim);
  return tokens;
}
FW_CHECK(recurrence) {
  recurrence_sizes(e, a);
  FW_FLOATS(finalState, a.sequences, a.heads, a.keyDim, a.valueDim);
}
FW_CHECK(recurrenceBackward) {
  const int64_t tokens = recurrence_sizes(e, a), values = recurrence_values(e, a);
  if (a.max.data && (!a.output.data || !a.dmax.data)) e.refuse("output", "or dmax is not there");
  FW_FLOATS(doutput, tokens, a.heads, a.exchanged ? a.keyDim : values);
  FW_FLOATS(dfinalState, a.sequences, a.heads, a.keyDim, a.valueDim);
  FW_FLOATS(dq, tokens, a.heads, a.exchanged ? a.valueDim : a.keyDim);
  FW_FLOATS(dk, tokens, a.heads, a.keyDim);
  FW_FLOATS(dv, tokens, a.heads, values);
  FW_FLOATS(dgate, tokens, a.heads, a.gateWidth);
  FW_FLOATS(dbeta, tokens, a.heads, a.betaWidth);
  FW_FLOATS(deraseKey, tokens, a.heads, a.keyDim);
  FW_FLOATS(dwriteKey, tokens, a.heads, a.keyDim);
  FW_FLOATS(dbonus, a.sequences, a.heads, a.keyDim);
  FW_SINGLES(dmax, tokens, a.heads);
  FW_FLOATS(dinitialState, a.sequences, a.heads, a.keyDim, a.valueDim);
}
FW_CHECK(recurrenceStep) {
  recurrence_operands(e, a, e.product({a.sequences}), a.valueDim);
  FW_FLOATS(state, a.sequences, a.heads, a.keyDim, a.valueDim);
  FW_FLOATS(output, a.sequences, a.heads, a.exchanged ? a.keyDim : a.valueDim);
}
// The sizes that a self-referential matrix and its gradients share. `tokens` are those of all sequences.
template <class Args>
int64_t self_referential_sizes(const Extents& e, const Args& a, int64_t& state) {
  const int64_t tokens = all_tokens(e, a);
  const int64_t columns = e.product({a.outputWidth}) + 2 * a.width + 4;
  state = e.product({a.sequences, a.heads, a.width, columns});
  FW_SINGLES(x, tokens, a.heads, a.width);
  FW_SINGLES(inputY, tokens, a.heads, a.width);
  e.singles("finalState", a.finalState, state);
  FW_SINGLES(trace, tokens, a.heads, columns + 2 * a.width + 4);
  return tokens;
}
FW_CHECK(selfReferential) {
  int64_t state;
  const int64_t tokens = self_referential_sizes(e, a, state);
  e.singles("initialState", a.initialState, state);
  FW_SINGLES(output, tokens, a.heads, a.outputWidth);
}
FW_CHECK(selfReferentialBackward) {
  int64_t state;
  const int64_t tokens = self_referential_sizes(e, a, state);
  if (!a.inputY.data != !a.dinputY.data) e.refuse("dinputY", "does not go with inputY");
  FW_SINGLES(doutput, tokens, a.heads, a.outputWidth);
  e.singles("dfinalState", a.dfinalState, state);
  FW_SINGLES(dx, tokens, a.heads, a.width);
  FW_SINGLES(dinputY, tokens, a.heads, a.width);
  e.singles("dinitialState", a.dinitialState, state);
}
template <class Args>
int64_t recurrent_delta_sizes(const Extents& e, const Args& a) {
  const int64_t tokens = all_tokens(e, a), columns = 3 * e.product({a.width}) + 1;
  FW_SINGLES(recurrent, a.heads, a.width, columns);
  FW_SINGLES(finalState, a.sequences, a.heads, a.width, a.width);
  FW_SINGLES(hidden, tokens, a.heads, a.width);
  FW_SINGLES(trace, tokens, a.heads, columns);
  return tokens;
}
FW_CHECK(recurrentDelta) {
  const int64_t tokens = recurrent_delta_sizes(e, a);
  FW_SINGLES(inputs, tokens, a.heads, 3 * a.width + 1);
  FW_SINGLES(initialState, a.sequences, a.heads, a.width, a.width);
  FW_SINGLES(initialOutput, a.sequences, a.heads, a.width);
  FW_SINGLES(output, tokens, a.heads, a.width);
  FW_SINGLES(finalOutput, a.sequences, a.heads, a.width);
}
FW_CHECK(recurrentDeltaBackward) {
  const int64_t tokens = recurrent_delta_sizes(e, a);
  FW_SINGLES(doutput, tokens, a.heads, a.width);
  FW_SINGLES(dfinalState, a.sequences, a.heads, a.width, a.width);
  FW_SINGLES(dfinalOutput, a.sequences, a.heads, a.width);
  FW_SINGLES(dinputs, tokens, a.heads, 3 * a.width + 1);
  FW_SINGLES(dinitialState, a.sequences, a.heads, a.width, a.width);
  FW_SINGLES(dinitialOutput, a.sequences, a.heads, a.width);
}

// An operand of a delta cell for each of its memories.
#define FW_OF_CELL(name, ...) \
  FW_SINGLES(name, __VA_ARGS__); \
  if (gates == 3) { \
    if (!a.name##Update.data || !a.name##Out.data) e.refuse(#name "Update, " #name "Out", "are needed by an LSTM"); \
    FW_SINGLES(name##Update, __VA_ARGS__); \
    FW_SINGLES(name##Out, __VA_ARGS__); \
  }
// The sizes of a delta cell; `gates` are its memories.
template <class Args>
int64_t delta_cell_sizes(const Extents& e, const Args& a, int64_t& gates) {
  e.within("cell", a.cell, kDeltaLstm4);
  const bool lstm = a.cell >= kDeltaLstm1;
  gates = lstm ? 3 : 1;
  const int64_t tokens = all_tokens(e, a);
  FW_OF_CELL(key, tokens, a.heads, a.width);
  FW_OF_CELL(beta, tokens, a.heads);
  FW_SINGLES(finalState, a.sequences, a.heads, gates, a.width, a.width);
  FW_SINGLES(output, tokens, a.heads, a.width);
  FW_SINGLES(trace, tokens, a.heads, lstm ? 8 : 3, a.width);
  return tokens;
}
FW_CHECK(deltaCell) {
  int64_t gates;
  const int64_t tokens = delta_cell_sizes(e, a, gates);
  if (gates == 3 && (!a.initialCell.data || !a.finalCell.data)) e.refuse("initialCell, finalCell", "are needed by an LSTM");
  FW_OF_CELL(z, tokens, a.heads, a.width);
  FW_OF_CELL(v, tokens, a.heads, a.width);
  FW_SINGLES(initialState, a.sequences, a.heads, gates, a.width, a.width);
  FW_SINGLES(initialOutput, a.sequences, a.heads, a.width);
  FW_SINGLES(initialCell, a.sequences, a.heads, a.width);
  FW_SINGLES(finalOutput, a.sequences, a.heads, a.width);
  FW_SINGLES(finalCell, a.sequences, a.heads, a.width);
}
FW_CHECK(deltaCellBackward) {
  int64_t gates;
  const int64_t tokens = delta_cell_sizes(e, a, gates);
  if (gates == 3 && (!a.dfinalCell.data || !a.dinitialCell.data)) {
    e.refuse("dfinalCell, dinitialCell", "are needed by an LSTM");
  }
  FW_SINGLES(doutput, tokens, a.heads, a.width);
  FW_SINGLES(dfinalState, a.sequences, a.heads, gates, a.width, a.width);
  FW_SINGLES(dfinalOutput, a.sequences, a.heads, a.width);
  FW_SINGLES(dfinalCell, a.sequences, a.heads, a.width);
  FW_OF_CELL(dz, tokens, a.heads, a.width);
  FW_OF_CELL(dkey, tokens, a.heads, a.width);
  FW_OF_CELL(dv, tokens, a.heads, a.width);
  FW_OF_CELL(dbeta, tokens, a.heads);
  FW_SINGLES(dinitialState, a.sequences, a.heads, gates, a.width, a.width);
  FW_SINGLES(dinitialOutput, a.sequences, a.heads, a.width);
  FW_SINGLES(dinitialCell, a.sequences, a.heads, a.width);
}
// The sizes that a matrix which learns at test time and its gradients share. `tokens` are those of all sequences.
template <class Args>
int64_t linear_learner_sizes(const Extents& e, const Args& a) {
  e.within("bias", a.bias, 1), e.within("momentum", a.momentum, 1), e.within("addsRead", a.addsRead, 1);
  if (a.chunk < 1 || a.tokens % a.chunk != 0) e.refuse("chunk", "does not divide the tokens");
  if (a.momentum ? !a.alpha.data || !a.eta.data : !a.scale.data) e.refuse("alpha, eta, scale", "are not those of momentum");
  if (!a.normWeight.data != !a.normBias.data) e.refuse("normBias", "does not go with normWeight");
  if (a.normWeight.data && a.momentum) e.refuse("normWeight", "goes without momentum");
  if (a.normWeight.data && a.keyDim != a.valueDim) e.refuse("valueDim", "is keyDim where there is a norm");
  const int64_t tokens = e.product({a.sequences, a.tokens});
  FW_SINGLES(q, tokens, a.heads, a.keyDim);
  FW_SINGLES(k, tokens, a.heads, a.keyDim);
  FW_SINGLES(reads, tokens, a.heads, a.valueDim);
  FW_SINGLES(target, tokens, a.heads, a.valueDim);
  FW_SINGLES(theta, tokens, a.heads);
  FW_SINGLES(scale, tokens, a.heads);
  FW_SINGLES(alpha, tokens, a.heads);
  FW_SINGLES(eta, tokens, a.heads);
  FW_SINGLES(normWeight, a.heads, a.valueDim);
  FW_SINGLES(normBias, a.heads, a.valueDim);
  FW_SINGLES(states, tokens / a.chunk, a.heads, 1 + a.momentum, a.keyDim + a.bias, a.valueDim);
  return tokens;
}
FW_CHECK(linearLearner) {
  const int64_t tokens = linear_learner_sizes(e, a), rows = a.keyDim + a.bias;
  if (a.momentum && (!a.initialMomentum.data || !a.finalMomentum.data)) {
    e.refuse("initialMomentum, finalMomentum", "go with momentum");
  }
  FW_SINGLES(output, tokens, a.heads, a.valueDim);
  FW_SINGLES(initialState, a.sequences, a.heads, rows, a.valueDim);
  FW_SINGLES(initialMomentum, a.sequences, a.heads, rows, a.valueDim);
  FW_SINGLES(finalState, a.sequences, a.heads, rows, a.valueDim);
  FW_SINGLES(finalMomentum, a.sequences, a.heads, rows, a.valueDim);
}
FW_CHECK(linearLearnerBackward) {
  const int64_t tokens = linear_learner_sizes(e, a), rows = a.keyDim + a.bias;
  if (a.momentum ? !a.dfinalMomentum.data || !a.dinitialMomentum.data || !a.dalpha.data || !a.deta.data : !a.dscale.data) {
    e.refuse("dfinalMomentum, dinitialMomentum, dalpha, deta, dscale", "are not those of momentum");
  }
  if (a.normWeight.data && (!a.reads.data || !a.dnormWeight.data || !a.dnormBias.data)) {
    e.refuse("reads, dnormWeight, dnormBias", "go with a norm");
  }
  FW_SINGLES(doutput, tokens, a.heads, a.valueDim);
  FW_SINGLES(dfinalState, a.sequences, a.heads, rows, a.valueDim);
  FW_SINGLES(dfinalMomentum, a.sequences, a.heads, rows, a.valueDim);
  FW_SINGLES(dq, tokens, a.heads, a.keyDim);
  FW_SINGLES(dk, tokens, a.heads, a.keyDim);
  FW_SINGLES(dtarget, tokens, a.heads, a.valueDim);
  FW_SINGLES(dtheta, tokens, a.heads);
  FW_SINGLES(dscale, tokens, a.heads);
  FW_SINGLES(dalpha, tokens, a.heads);
  FW_SINGLES(deta, tokens, a.heads);
  FW_SINGLES(dnormWeight, a.sequences, a.heads, a.valueDim);
  FW_SINGLES(dnormBias, a.sequences, a.heads, a.valueDim);
  FW_SINGLES(dinitialState, a.sequences, a.heads, rows, a.valueDim);
  FW_SINGLES(dinitialMomentum, a.sequences, a.heads, rows, a.valueDim);
}
FW_CHECK(adam) {
  e.same_lengths("gradients", a.parameters, a.gradients);
  e.same_lengths("means", a.parameters, a.means);
  e.same_lengths("squares", a.parameters, a.squares);
  FW_FLOATS(gradientScale, 1);
}
FW_CHECK(sgd) {
  e.same_lengths("gradients", a.parameters, a.gradients);
  if (a.momentumBuffers.count > 0) e.same_lengths("momentumBuffers", a.parameters, a.momentumBuffers);
  FW_FLOATS(gradientScale, 1);
}
FW_CHECK(sumSquares) { FW_SINGLES(y, 1); }
FW_CHECK(swiglu) {
  FW_FLOATS(gate, a.n);
  FW_FLOATS(up, a.n);
  FW_FLOATS(y, a.n);
}
FW_CHECK(swigluBackward) {
  FW_FLOATS(gate, a.n);
  FW_FLOATS(up, a.n);
  FW_FLOATS(dy, a.n);
  FW_FLOATS(dgate, a.n);
  FW_FLOATS(dup, a.n);
}

// Whether a call that has no element to write must run all the same, to refuse indices outside its table.
template <class Args>
bool answers(const Args&) {
  return false;
}
inline bool answers(const embeddingArgs&) { return true; }
inline bool answers(const embeddingBackwardArgs&) { return true; }
inline bool answers(const gatherArgs&) { return true; }
inline bool answers(const scatterAddArgs&) { return true; }

// Whether the call writes every element of its outputs; a strided copy need not.
template <class Args>
bool writes_all(const Args&) {
  return true;
}
inline bool writes_all(const copyArgs& a) {
  int64_t n = 1;
  for (int64_t i = 0; i < a.shape.rank; i++) n *= a.shape[i];
  return n == a.y.size;
}

#undef FW_CHECK
#undef FW_FLOATS
#undef FW_SINGLES
#undef FW_INTS
#undef FW_HEADS

}  // namespace fw
