// How much work a call is, in floating-point operations as far as a processor sees them: it decides whether the call
// runs at once on the calling thread or goes to the queue. Only the order of magnitude matters.
#pragma once
#include "../../kernels.h"

namespace fw {

// About 50 to 100 microseconds of one core.
constexpr double kInlineCost = 2e6;

inline double elements(const Dims& shape) {
  double n = 1;
  for (int64_t i = 0; i < shape.rank; i++) n *= static_cast<double>(shape[i]);
  return n;
}

inline double elements(const List& list) {
  double n = 0;
  for (int64_t i = 0; i < list.count; i++) n += static_cast<double>(list[i].size);
  return n;
}

inline double cost(const fillArgs& a) { return 4.0 * a.n; }
inline double cost(const castArgs& a) { return 8.0 * a.n; }
inline double cost(const copyArgs& a) { return 8 * elements(a.shape); }
inline double cost(const unaryArgs& a) { return 16.0 * a.n; }
inline double cost(const unaryBackwardArgs& a) { return 24.0 * a.n; }
inline double cost(const binaryArgs& a) { return 8 * elements(a.shape); }
inline double cost(const compareArgs& a) { return 8 * elements(a.shape); }
inline double cost(const whereArgs& a) { return 8 * elements(a.shape); }
inline double cost(const gatherArgs& a) { return 16 * elements(a.shape); }
inline double cost(const scatterAddArgs& a) { return 16 * elements(a.shape); }
inline double cost(const argsortArgs& a) { return 64.0 * a.outer * a.n * a.inner; }
inline double cost(const reduceArgs& a) { return 4.0 * a.outer * a.n * a.inner; }
inline double cost(const argmaxArgs& a) { return 8.0 * a.outer * a.n * a.inner; }
inline double cost(const cumsumArgs& a) { return 8.0 * a.outer * a.n * a.inner; }
inline double cost(const scanArgs& a) { return 24.0 * a.outer * a.n * a.inner; }
inline double cost(const softmaxArgs& a) { return 24.0 * a.rows * a.n; }
inline double cost(const softmaxBackwardArgs& a) { return 16.0 * a.rows * a.n; }
inline double cost(const normArgs& a) { return 16.0 * a.rows * a.n; }
inline double cost(const normBackwardArgs& a) { return 24.0 * a.rows * a.n; }
inline double cost(const embeddingArgs& a) { return 8.0 * a.rows * a.d; }
inline double cost(const embeddingBackwardArgs& a) { return 4.0 * a.vocabulary * a.d + 8.0 * a.rows * a.d; }
inline double cost(const shortConvArgs& a) {
  return (16.0 + 2 * a.width) * (a.offsets.data ? 1 : a.sequences) * a.tokens * a.d;
}
inline double cost(const shortConvBackwardArgs& a) {
  return (32.0 + 4 * a.width) * (a.offsets.data ? 1 : a.sequences) * a.tokens * a.d;
}
inline double cost(const shortConvStepArgs& a) { return (16.0 + 4 * a.width) * a.batch * a.d; }
inline double cost(const matmulArgs& a) { return 2.0 * a.batch1 * a.batch2 * a.m * a.n * a.k; }
inline double cost(const linearArgs& a) { return 2.0 * a.rows * a.n * a.k; }
inline double cost(const quantizedLinearArgs& a) { return 2.0 * a.rows * a.n * a.k; }
inline double cost(const feedForwardArgs& a) { return 6.0 * a.rows * a.d * a.hidden; }
inline double cost(const feedForwardBackwardArgs& a) { return 6.0 * a.rows * a.d * a.hidden; }
inline double cost(const randomArgs& a) { return 64.0 * a.n; }
inline double cost(const dropoutArgs& a) { return 64.0 * a.n; }
inline double cost(const crossEntropyArgs& a) { return 24.0 * a.rows * a.n; }
inline double cost(const crossEntropyBackwardArgs& a) { return 24.0 * a.rows * a.n; }
inline double cost(const ropeArgs& a) { return 16.0 * a.tokens * a.heads * a.width; }
inline double cost(const attentionArgs& a) {
  return 2.0 * (a.offsets.data ? 1 : a.sequences) * a.tokens * a.keys * a.heads * (a.keyDim + a.valueDim);
}
inline double cost(const attentionBackwardArgs& a) {
  return 6.0 * (a.offsets.data ? 1 : a.sequences) * a.tokens * a.keys * a.heads * (a.keyDim + a.valueDim);
}
inline double cost(const lstmCellArgs& a) { return 64.0 * a.rows * a.d; }
inline double cost(const lstmCellBackwardArgs& a) { return 96.0 * a.rows * a.d; }
template <class Args>
double gates_cost(const Args& a) {
  return 96.0 * (a.offsets.data ? 1 : a.sequences) * a.tokens * a.heads;
}
inline double cost(const exponentialGatesArgs& a) { return gates_cost(a); }
inline double cost(const exponentialGatesBackwardArgs& a) { return gates_cost(a); }
inline double cost(const recurrenceArgs& a) {
  return 6.0 * (a.offsets.data ? 1 : a.sequences) * a.tokens * a.heads * a.keyDim * a.valueDim;
}
inline double cost(const recurrenceBackwardArgs& a) {
  return 24.0 * (a.offsets.data ? 1 : a.sequences) * a.tokens * a.heads * a.keyDim * a.valueDim;
}
inline double cost(const recurrenceStepArgs& a) { return 6.0 * a.sequences * a.heads * a.keyDim * a.valueDim; }
// Useful operations of a token and head; a backward pass counts twice.
template <class Args>
double sequential_cost(const Args& a, double token) {
  return token * (a.offsets.data ? 1 : a.sequences) * a.tokens * a.heads;
}
inline double cost(const selfReferentialArgs& a) {
  return sequential_cost(a, 8.0 * a.width * (a.outputWidth + 2 * a.width + 4));
}
inline double cost(const selfReferentialBackwardArgs& a) {
  return sequential_cost(a, 16.0 * a.width * (a.outputWidth + 2 * a.width + 4));
}
inline double cost(const recurrentDeltaArgs& a) { return sequential_cost(a, 12.0 * a.width * a.width); }
inline double cost(const recurrentDeltaBackwardArgs& a) { return sequential_cost(a, 24.0 * a.width * a.width); }
inline double cost(const deltaCellArgs& a) {
  return sequential_cost(a, (a.cell >= kDeltaLstm1 ? 18.0 : 6.0) * a.width * a.width);
}
inline double cost(const deltaCellBackwardArgs& a) {
  return sequential_cost(a, (a.cell >= kDeltaLstm1 ? 36.0 : 12.0) * a.width * a.width);
}
inline double cost(const linearLearnerArgs& a) {
  const double state = (a.momentum ? 10.0 : 6.0) * (a.keyDim + a.bias) * a.valueDim;
  return (state + 2.0 * a.chunk * (a.keyDim + a.valueDim)) * a.sequences * a.tokens * a.heads;
}
inline double cost(const linearLearnerBackwardArgs& a) {
  const double state = (a.momentum ? 20.0 : 12.0) * (a.keyDim + a.bias) * a.valueDim;
  return (state + 4.0 * a.chunk * (a.keyDim + a.valueDim)) * a.sequences * a.tokens * a.heads;
}
inline double cost(const adamArgs& a) { return 24 * elements(a.parameters); }
inline double cost(const sgdArgs& a) { return 16 * elements(a.parameters); }
inline double cost(const sumSquaresArgs& a) { return 4 * elements(a.x); }
inline double cost(const swigluArgs& a) { return 24.0 * a.n; }
inline double cost(const swigluBackwardArgs& a) { return 32.0 * a.n; }

}  // namespace fw
