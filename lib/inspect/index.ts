// What the matrices of fast weights of a model do while it reads.
export { dualForm, type DualRow } from './dual';
export {
  inspectFastWeights,
  inspectReading,
  type InspectedMemory,
  type Inspection,
  type InspectModelOptions,
  type InspectOptions,
} from './inspect';
export { type MemoryCourse, measureMemory } from './measure';
export {
  inputsOf,
  joinInputs,
  type MemoryInputs,
  outputOf,
  type Rows,
  statesOf,
  type Step,
  type Write,
} from './memory';
export type { MemoryPlace } from './places';
export { rankOf, singularValues } from './rank';
export { keepsMatrix, type Look, type Reading, type Slice } from './reading';
export { type Fate, fatesOf } from './retention';
export { type PageMemory, pageMemory, type PagePlace, pagePlace } from './page/data';
export { liveInspectionPage, renderInspection, type RenderInspectionOptions } from './page/render';
