// Optimisers, schedules, gradient clipping.
export * from './adam';
export * from './clip';
export { Optimizer } from './optimizer';
export type { CommonSettings, Parameter, ParameterGroup, Parameters } from './parameters';
export * from './schedules';
export * from './sgd';
export type { OptimizerState } from './state';
