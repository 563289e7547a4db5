// What models of continuous-time fast weights share with the rules.
export { controlAt, packSpline } from './control';
export { checkField, FIELD, type FieldOptions, solverOf } from './fastWeights';
export {
  type FieldSettings,
  type Layers,
  learningField,
  LEARNING_RULES,
  queryOf,
  readState,
  valueLayer,
} from './field';
export { checkSolver, checkTimes, integrate, SOLVER } from './odeint';
export { checkObservation, observe, type ObservationSettings, OBSERVATION } from './recurrent';
