// Optimisers, schedules, gradient clipping, averages of weights.
export { Adafactor, type AdafactorSettings } from './adafactor';
export { Adam, type AdamSettings, AdamW } from './adam';
export { clipEachGradNorm, clipFactor, clipGradNorm, clipGradValue, type ClipOptions } from './clip';
export { type EmaOptions, type EmaState, ExponentialMovingAverage } from './ema';
export { type EvolutionSettings, type EvolutionState, EvolutionStrategy } from './evolution';
export { Lion, type LionSettings } from './lion';
export { isHiddenMatrix, Muon, MUON_RATES, muonGroups, type MuonSettings } from './muon';
export { Optimizer } from './optimizer';
export { orthogonalize, type OrthogonalizeOptions } from './orthogonalize';
export type { CommonSettings, Parameter, ParameterGroup, Parameters, LiveGroup } from './parameters';
export { Plateau, type PlateauOptions, type PlateauState } from './plateau';
export {
  LRScheduler,
  type LRSchedulerState,
  ReduceLROnPlateau,
  type ReduceLROnPlateauOptions,
  setMomentum,
} from './scheduler';
export {
  constant,
  cosine,
  type DecayOptions,
  linear,
  oneCycle,
  type OneCycleOptions,
  type Schedule,
  warmup,
} from './schedules';
export { SGD, type SgdSettings } from './sgd';
export type { OptimizerState } from './state';
