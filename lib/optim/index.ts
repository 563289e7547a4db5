// Optimisers, schedules, gradient clipping.
export * from './adam';
export * from './clip';
export { type OptimizerState, Optimizer, type ParameterGroup } from './optimizer';
export * from './schedules';
export * from './sgd';
