// Differentiable operators. Loading this file fills the table that Tensor's methods call.
import { installOperators, scoped } from '../core';
import { backward, registerHook } from '../autograd';
import * as compare from './compare';
import * as elementwise from './elementwise';
import * as indexing from './indexing';
import { matmul } from './matmul';
import * as reduce from './reduce';
import * as scans from './scan';
import * as sorting from './sort';
import { logSoftmax, softmax } from './softmax';
import * as views from './view';

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
  matmul,
  sum: reduce.sum,
  mean: reduce.mean,
  max: reduce.max,
  min: reduce.min,
  argmax: reduce.argmax,
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
  index: indexing.index,
  argsort: sorting.argsort,
  sort: sorting.sort,
  topk: sorting.topk,
  softmax,
  logSoftmax,
  reshape: scoped(views.reshape),
  permute: views.permute,
  slice: scoped(views.slice),
  expand: views.expand,
  another: views.another,
  contiguous: scoped(views.contiguous),
  clone: views.clone,
  to: scoped(views.to),
  addInPlace: elementwise.addInPlace,
  mulInPlace: elementwise.mulInPlace,
  copyInPlace: elementwise.copyInPlace,
  fillInPlace: elementwise.fillInPlace,
  backward,
  registerHook,
});

export { softmaxAttention, type AttentionOptions } from './attention';
export { checkValues, checksEnabled, checksFromEnvironment, checksValues, setChecks, withChecks } from './checks';
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
export { indexSelect } from './indexing';
export { embedding } from './embedding';
export {
  featureMap,
  FEATURE_MAP_OPTIONS,
  FEATURE_MAPS,
  mapFeatures,
  type FeatureMapName,
  type FeatureMapOptions,
} from './features';
export { repeatHeads } from './heads';
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
export { lstm, type LstmLayer, type LstmState } from './lstm';
export { feedForward, type FeedForwardWeights, linear, type LinearOptions } from './linear';
export { float32MatmulPrecision, matmul, setFloat32MatmulPrecision, withPrecision } from './matmul';
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
export { dropout } from './random';
export { chunks, sumSquares } from './reduce';
export { rope, type RopeOptions } from './rope';
export { checkCuSeqlens, sequencesOf, type CuSeqlens, type Sequences } from './sequences';
export { linearScan } from './scan';
export { scaledDotProductAttention, type ScaledDotProductOptions } from './scaledDotProduct';
export { keepSettings, type KeptSettings } from './settings';
export { logSoftmax, softmax } from './softmax';
export { swiglu } from './swiglu';
export { apart, castInto, cat, convert, split, stack, sumTo } from './view';
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
