// Inference over a small interface: sessions and their state, sampling, generation.
export type { GeneratedToken, GenerateOptions } from './generate';
export type { RecurrentModel, TokenIds } from './model';
export { sampleToken, type SampledToken, type SamplingOptions } from './sampling';
export { Session, Snapshot } from './session';
export { checkStateLike, cloneState, disposeState, persistState, type State } from './state';
