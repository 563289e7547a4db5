// Inference over a small interface: sessions and their state, sampling, generation.
export {
  BatchedModel,
  type BatchedEmbedOptions,
  type BatchedModelOptions,
  type BatchedSessionOptions,
  type BatchNumbers,
} from './batching/batchedModel';
export { embed, type EmbedOptions, type HiddenRead } from './embed';
export { FileStore } from './fileStore';
export { countToken, noteUse, type Pace } from './form';
export type { GeneratedToken, GenerateOptions } from './generate';
export { MemoryStore, type MemoryStoreOptions } from './memoryStore';
export type { Read, RecurrentModel, TokenIds } from './model';
export { type Claim, type RedisClient, RedisStore, type RedisStoreOptions, type SetOptions } from './redisStore';
export {
  type LogitProcessor,
  type SampledContext,
  sampleToken,
  type SampledToken,
  type SamplingOptions,
  type TokenProbability,
} from './sampling';
export {
  PrefixCache,
  type PrefixCacheOptions,
  type PrefixNumbers,
  type PrefixReason,
  type PrefixUse,
} from './prefix/prefixCache';
export { batchDimension, isRows, joins, raggedState, isKnown, remember, type Rows } from './ragged';
export { Session } from './session';
export type { PromptOptions, ReadOptions, SessionOptions } from './sessionOptions';
export { Snapshot } from './snapshot';
export type { SnapshotOptions } from './snapshotFile';
export type { SpeculateOptions, SpeculationCounts } from './speculation/options';
export { checkStateLike, cloneState, disposeState, persistState, tensorsOf, type State, withTensors } from './state';
export type { PageOptions, StateStore } from './stateStore';
export { atOnce, checkSignal, inTurns, type Stages } from './turns';
