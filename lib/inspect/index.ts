// What the matrices of fast weights of a model do while it reads.
export { dualForm, type DualRow } from './dual';
export {
  inspectFastWeights,
  inspectReading,
  type InspectedMemory,
  type Inspection,
  type InspectOptions,
  keepsMatrix,
  type Reading,
} from './inspect';
export { type MemoryCourse, measureMemory } from './measure';
export { inputsOf, type MemoryInputs, outputOf, type Rows, statesOf, type Step, type Write } from './memory';
export { effectiveRank, singularValues } from './rank';
export { renderInspection, type RenderInspectionOptions } from './page/render';
