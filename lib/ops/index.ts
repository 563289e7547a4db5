// Differentiable operators. Loading this file brings Tensor's methods that compute.
import { installOperators, listed, scoped } from '../core';
import { backward, registerHook } from '../autograd';
import { to } from './cast';
import { allclose, isclose } from './close';
import * as compare from './compare';
import * as draw from './draw';
import * as elementwise from './elementwise';
import * as extremes from './extremes';
import * as indexing from './indexing';
import * as inPlace from './inPlace';
import { split } from './join';
import { matmul } from './matmul';
import { pad, unfold } from './pad';
import * as products from './products';
import * as reduce from './reduce';
import * as repeats from './repeats';
import * as scans from './scan';
import * as shapes from './shapes';
import * as sorting from './sort';
import { logSoftmax, softmax } from './softmax';
import * as statistics from './statistics';
import * as triangles from './triangles';
import { index } from './subscript';
import * as views from './view';

const reshape = scoped(views.reshape);
const slice = scoped(views.slice);

installOperators({
  add: elementwise.add,
  sub: elementwise.sub,
  mul: elementwise.mul,
  div: elementwise.div,
  pow: elementwise.pow,
  floorDivide: elementwise.floorDivide,
  remainder: elementwise.remainder,
  maximum: elementwise.maximum,
  minimum: elementwise.minimum,
  atan2: elementwise.atan2,
  eq: compare.eq,
  ne: compare.ne,
  lt: compare.lt,
  le: compare.le,
  gt: compare.gt,
  ge: compare.ge,
  isclose,
  allclose,
  logicalAnd: compare.logicalAnd,
  logicalOr: compare.logicalOr,
  logicalXor: compare.logicalXor,
  logicalNot: compare.logicalNot,
  isnan: compare.isnan,
  isinf: compare.isinf,
  isfinite: compare.isfinite,
  maskedFill: compare.maskedFill,
  neg: elementwise.neg,
  exp: elementwise.exp,
  log: elementwise.log,
  sqrt: elementwise.sqrt,
  rsqrt: elementwise.rsqrt,
  reciprocal: elementwise.reciprocal,
  abs: elementwise.abs,
  square: elementwise.square,
  sin: elementwise.sin,
  cos: elementwise.cos,
  tanh: elementwise.tanh,
  sigmoid: elementwise.sigmoid,
  logSigmoid: elementwise.logSigmoid,
  silu: elementwise.silu,
  relu: elementwise.relu,
  softplus: elementwise.softplus,
  elu1: elementwise.elu1,
  gelu: elementwise.gelu,
  log1p: elementwise.log1p,
  expm1: elementwise.expm1,
  erf: elementwise.erf,
  floor: elementwise.floor,
  ceil: elementwise.ceil,
  round: elementwise.round,
  trunc: elementwise.trunc,
  sign: elementwise.sign,
  clamp: elementwise.clamp,
  bernoulli: draw.bernoulli,
  multinomial: draw.multinomial,
  matmul,
  mm: products.mm,
  bmm: products.bmm,
  mv: products.mv,
  dot: products.dot,
  outer: products.outer,
  sum: reduce.sum,
  mean: reduce.mean,
  prod: reduce.prod,
  max: extremes.max,
  min: extremes.min,
  maxWithIndices: extremes.maxWithIndices,
  minWithIndices: extremes.minWithIndices,
  argmax: extremes.argmax,
  argmin: extremes.argmin,
  median: extremes.median,
  any: statistics.any,
  all: statistics.all,
  countNonzero: statistics.countNonzero,
  logsumexp: statistics.logsumexp,
  var: statistics.variance,
  std: statistics.std,
  norm: statistics.norm,
  cumsum: scans.cumsum,
  cumprod: scans.cumprod,
  logcumsumexp: scans.logcumsumexp,
  gather: indexing.gather,
  scatterAdd: indexing.scatterAdd,
  indexSelect: indexing.indexSelect,
  narrow: scoped(indexing.narrow),
  select: indexing.select,
  nonzero: indexing.nonzero,
  maskedSelect: indexing.maskedSelect,
  index,
  split: split,
  argsort: sorting.argsort,
  sort: sorting.sort,
  topk: sorting.topk,
  softmax,
  logSoftmax,
  reshape: (x, ...shape) => reshape(x, listed(shape)),
  permute: (x, ...dims) => views.permute(x, listed(dims)),
  transpose: shapes.transpose,
  t: shapes.t,
  movedim: shapes.movedim,
  slice: (x, dim, start, end = Number.MAX_SAFE_INTEGER) => slice(x, dim, start, end),
  expand: (x, ...shape) => views.expand(x, listed(shape)),
  broadcastTo: shapes.broadcastTo,
  squeeze: shapes.squeeze,
  unsqueeze: shapes.unsqueeze,
  flatten: shapes.flatten,
  unflatten: shapes.unflatten,
  repeat: (x, ...counts) => repeats.repeat(x, listed(counts)),
  tile: (x, ...counts) => repeats.tile(x, listed(counts)),
  repeatInterleave: repeats.repeatInterleave,
  flip: (x, ...dims) => repeats.flip(x, listed(dims)),
  roll: repeats.roll,
  pad,
  unfold,
  chunk: shapes.chunk,
  tensorSplit: shapes.tensorSplit,
  unbind: shapes.unbind,
  tril: triangles.tril,
  triu: triangles.triu,
  diag: triangles.diag,
  diagonal: triangles.diagonal,
  another: views.another,
  contiguous: scoped(views.contiguous),
  clone: views.clone,
  to: scoped(to),
  add_: inPlace.addInPlace,
  sub_: inPlace.subInPlace,
  mul_: inPlace.mulInPlace,
  div_: inPlace.divInPlace,
  copy_: inPlace.copyInPlace,
  fill_: inPlace.fillInPlace,
  zero_: (x) => inPlace.fillInPlace(x, 0),
  maskedFill_: inPlace.maskedFillInPlace,
  backward,
  registerHook,
});

export { softmaxAttention, type AttentionOptions } from './attention';
export {
  checkValues,
  checksEnabled,
  checksFromEnvironment,
  checksValues,
  setChecks,
  withChecks,
  type Checks,
} from './checks';
export { allclose, isclose } from './close';
export {
  shortConvolution,
  shortConvolutionStep,
  type ShortConvolutionOptions,
  type ShortConvolutionResult,
  type ShortConvolutionStepOptions,
  type WithFinalState,
} from './conv';
export * from './create';
export {
  eq,
  ge,
  gt,
  isfinite,
  isinf,
  isnan,
  le,
  logicalAnd,
  logicalNot,
  logicalOr,
  logicalXor,
  lt,
  maskedFill,
  ne,
  where,
} from './compare';
export {
  bernoulli,
  multinomial,
  rand,
  randint,
  randLike,
  randn,
  randnLike,
  randperm,
  type NormalOptions,
  type UniformOptions,
} from './draw';
export { einsum } from './einsum';
export {
  abs,
  add,
  affine,
  atan2,
  ceil,
  clamp,
  cos,
  div,
  elu1,
  erf,
  exp,
  expm1,
  floor,
  floorDivide,
  gelu,
  log,
  log1p,
  logSigmoid,
  maximum,
  minimum,
  mul,
  neg,
  pow,
  reciprocal,
  relu,
  remainder,
  round,
  rsqrt,
  sigmoid,
  sign,
  silu,
  sin,
  softplus,
  sqrt,
  square,
  sub,
  tanh,
  trunc,
} from './elementwise';
export { gatedDeltaNetGate, kdaGate, type KdaGateOptions } from './decayGates';
export { embedding, oneHot } from './embedding';
export { argmax, argmin, max, maxWithIndices, median, min, minWithIndices } from './extremes';
export {
  featureMap,
  FEATURE_MAP_OPTIONS,
  FEATURE_MAPS,
  mapFeatures,
  type FeatureMapName,
  type FeatureMapOptions,
} from './features';
export { glu, leakyRelu } from './gates';
export { repeatHeads } from './heads';
export { gather, indexSelect, maskedSelect, narrow, nonzero, scatterAdd, select } from './indexing';
export * from './kernel';
export { crossEntropy, nllLoss, type CrossEntropyOptions, type NllOptions, type Reduction } from './loss';
export {
  binaryCrossEntropyWithLogits,
  cosineSimilarity,
  huberLoss,
  klDiv,
  l1Loss,
  mseLoss,
  smoothL1Loss,
  type BinaryCrossEntropyOptions,
  type CosineOptions,
  type HuberOptions,
  type KlDivOptions,
  type LossOptions,
  type SmoothL1Options,
} from './losses';
export { lstm, type LstmLayer, type LstmResult, type LstmState } from './lstm';
export { feedForward, type FeedForwardWeights, linear, type LinearOptions } from './linear';
export { linearCrossEntropy, type LinearCrossEntropyOptions } from './linearLoss';
export { float32MatmulPrecision, matmul, setFloat32MatmulPrecision, sumOfProducts, withPrecision } from './matmul';
export {
  groupNorm,
  l2Norm,
  layerNorm,
  rmsNorm,
  rmsNormGated,
  type GatedNormOptions,
  type NormOptions,
  type RmsNormOptions,
} from './norm';
export { pad } from './pad';
export { bmm, dot, mm, mv, outer } from './products';
export { type PackedWeight, packing, quantizedLinear } from './quantized';
export { dropout } from './random';
export { chunks, mean, prod, sum, sumSquares } from './reduce';
export { flip, repeatInterleave, roll, tile } from './repeats';
export { rope, type RopeOptions } from './rope';
export { rwkv7KeyUpdate, rwkv7OutputCorrection } from './rwkv7';
export { checkCuSeqlens, sequencesOf, type CuSeqlens, type Sequences } from './sequences';
export { cumprod, cumsum, linearScan, logcumsumexp } from './scan';
export {
  broadcastTo,
  chunk,
  flatten,
  meshgrid,
  movedim,
  squeeze,
  t,
  tensorSplit,
  transpose,
  unbind,
  unflatten,
  unsqueeze,
} from './shapes';
export { scaledDotProductAttention, type ScaledDotProductOptions } from './scaledDotProduct';
export { keepSettings, type KeptSettings } from './settings';
export { logSoftmax, softmax } from './softmax';
export { argsort, sort, topk } from './sort';
export { all, any, countNonzero, logsumexp, norm, normalize, std, variance, type NormalizeOptions } from './statistics';
export { swiglu } from './swiglu';
export { tokenShift, tokenShiftStep, type TokenShiftOptions, type TokenShiftResult } from './tokenShift';
export { diag, diagonal, tril, triu } from './triangles';
export { castInto, convert } from './cast';
export { cat, split, stack } from './join';
export { apart, sumTo } from './view';
export {
  adaptiveAvgPool2d,
  avgPool2d,
  checkPair,
  conv1d,
  conv2d,
  maxPool2d,
  type AvgPoolOptions,
  type Conv1dOptions,
  type Conv2dOptions,
  type Pair,
  type PoolOptions,
} from './windows';
