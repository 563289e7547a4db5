// Optimisers, schedules, gradient clipping.
export * from './adam';
export * from './clip';
export {
  Optimizer,
  type CommonSettings,
  type OptimizerState,
  type Parameter,
  type ParameterGroup,
  type Parameters,
} from './optimizer';
export * from './schedules';
export * from './sgd';
