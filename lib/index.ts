// The public interface of fast-weights.
import './ops';

export {
  FastWeightsError,
  manualSeed,
  memory,
  scope,
  Scope,
  Tensor,
  type Device,
  type DType,
  type ErrorCode,
  type MemoryReport,
  type NestedNumbers,
  type Shape,
  withSeed,
} from './core';
export { devices, loadAttempts, setDefaultDevice, setNumThreads, trimMemory, type DeviceInfo } from './backends';
export * from './io';
export { checkpoint, enableGrad, grad, gradcheck, noGrad } from './autograd';
export {
  arange,
  cat,
  crossEntropy,
  dropout,
  elu1,
  embedding,
  featureMap,
  feedForward,
  float32MatmulPrecision,
  full,
  gelu,
  groupNorm,
  l2Norm,
  layerNorm,
  linear,
  logSoftmax,
  lstm,
  matmul,
  ones,
  rand,
  randn,
  rmsNorm,
  rmsNormGated,
  rope,
  setChecks,
  setFloat32MatmulPrecision,
  shortConvolution,
  shortConvolutionStep,
  softmax,
  softmaxAttention,
  split,
  stack,
  swiglu,
  tensor,
  withChecks,
  withPrecision,
  zeros,
  type AttentionOptions,
  type CrossEntropyOptions,
  type CuSeqlens,
  type FeatureMapName,
  type FeatureMapOptions,
  type FeedForwardWeights,
  type GatedNormOptions,
  type LinearOptions,
  type LstmLayer,
  type LstmState,
  type RopeOptions,
  type ShortConvolutionOptions,
  type ShortConvolutionResult,
  type TensorOptions,
} from './ops';
export * from './rules';
export * as nn from './nn';
export * as optim from './optim';
export {
  cloneState,
  disposeState,
  sampleToken,
  Session,
  Snapshot,
  type GeneratedToken,
  type GenerateOptions,
  type ReadOptions,
  type RecurrentModel,
  type SampledToken,
  type SamplingOptions,
  type SessionOptions,
  type Stages,
  type State,
  type TokenIds,
} from './inference';
export * as models from './models';
export {
  AutoModelForCausalLM,
  createModel,
  type CreateOptions,
  type ModelName,
  type PretrainedOptions,
} from './models';
export * as data from './data';
export * as viz from './viz';
export {
  resumeRun,
  startRun,
  Trainer,
  type TrainerOptions,
  type TrainingConfig,
  type TrainingResult,
  type TrainOptions,
} from './train';
