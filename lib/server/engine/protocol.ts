// What the thread of HTTP and the thread of a model say to each other: plain values, which can be cloned.
import type { PrefixReason } from '../../inference';
import type { WireError } from '../errors';
import type { SessionInspection } from './inspect';

/** A message of a conversation as chat templates see it. */
export interface ChatMessage {
  role: string;
  content: string | null;
  name?: string;
  tool_call_id?: string;
  tool_calls?: { id: string; type: 'function'; function: { name: string; arguments: unknown } }[];
}

/** What is read before generation. */
export type Prompt =
  | { kind: 'text'; text: string }
  | { kind: 'ids'; ids: readonly number[] | Int32Array }
  | {
      kind: 'chat';
      messages: readonly ChatMessage[];
      tools?: readonly unknown[];
      /** Further variables of the template. */
      variables?: Readonly<Record<string, unknown>>;
    };

/** What the generated text must be. */
export type Constraint =
  | { kind: 'json' }
  | { kind: 'schema'; schema: string }
  | { kind: 'grammar'; grammar: string }
  /** A call of one of these functions in the model's own form. */
  | { kind: 'tools'; tools: readonly { name: string; parameters: string }[] };

/** How tokens are drawn; what is left out is as the model's folder says, or OpenAI. */
export interface Drawing {
  temperature?: number;
  topK?: number;
  topP?: number;
  minP?: number;
  typicalP?: number;
  repetitionPenalty?: number;
  presencePenalty?: number;
  frequencyPenalty?: number;
  logitBias?: Record<number, number>;
  topLogprobs?: number;
}

export interface GenerateJob {
  kind: 'generate';
  prompt: Prompt;
  /** Whose it is: prompts share their beginnings with those of the same owner alone. */
  owner?: string;
  /** The key of the stored state to go on from; it must be there. */
  from?: string;
  /** The key to store the state under that the generation ends with. */
  to?: string;
  /** Whether what was generated is stored where the request is broken off, too. */
  keepPart?: boolean;
  /** Whether ids are kept for rollback, where the conversation begins. */
  history?: boolean;
  /** Goes on with the generation that ended the stored state, with its random numbers. */
  resume?: boolean;
  drawing: Drawing;
  seed?: number;
  maxTokens: number;
  stop: readonly string[];
  /** Beside those of the model. */
  stopTokens?: readonly number[];
  ignoreStopTokens?: boolean;
  samples: number;
  constraint?: Constraint;
  /** Whether tokens are given with their probabilities. */
  logprobs: boolean;
  /** Whether special tokens are part of the text. */
  special?: boolean;
  /** Who guesses tokens that are then read together. */
  speculate?: 'ngram' | 'draft';
  /** The name of the adapter that the text goes through. */
  adapter?: string;
}

/** Everything else that is asked of a model. */
export type Task =
  | { kind: 'create'; to: string; prompt?: Prompt; history?: boolean; owner?: string; adapter?: string }
  | { kind: 'describe'; key: string }
  | { kind: 'copy'; from: string; to: string }
  | { kind: 'rollback'; key: string; tokens: number }
  | { kind: 'delete'; keys: readonly string[] }
  | { kind: 'has'; key: string }
  | { kind: 'list'; prefix: string }
  /** Newest first: those older than `after`, at most `limit`. */
  | { kind: 'sessions'; owner: string; after?: string; limit: number }
  | InspectTask
  | { kind: 'embed'; input: readonly (string | readonly number[] | Int32Array)[]; adapter?: string };

/** The most tokens that are looked at: what is told of them grows with their square. */
export const MOST_INSPECTED = 512;

/** A look at one head's matrix while the last `tokens` of a session are read again. */
export interface InspectTask {
  kind: 'inspect';
  key: string;
  owner: string;
  tokens: number;
  /** The first that there is, without. */
  layer?: number;
  /** 1 without. */
  head?: number;
  /** The layer's first, without. */
  matrix?: string;
  /** What share of an earlier write is to be told when it is taken. */
  threshold: number;
  /** Whether all heads are to be told of. */
  survey?: boolean;
  /** Whether what the page draws from is wanted, too. */
  page?: boolean;
}

/** Of a stored state. */
export interface StateInfo {
  length: number;
  bytes: number;
  /** The one that it came through. */
  adapter?: string;
}

export interface TaskResults {
  /** `prefix` where a prompt was read, of so many tokens. */
  create: StateInfo & { promptTokens: number; prefix?: Prefix };
  describe: StateInfo;
  copy: StateInfo;
  rollback: StateInfo;
  delete: boolean[];
  has: boolean;
  list: { key: string; bytes: number }[];
  sessions: { id: string; bytes: number }[];
  inspect: SessionInspection;
  embed: { vectors: Float32Array[]; tokens: number };
}

export interface TokenInfo {
  /** What it adds to a text on its own. */
  token: string;
  /** Null where it is a part of a character. */
  bytes: number[] | null;
  logprob: number;
}

export interface TokenEvent {
  sample: number;
  text: string;
  id: number;
  info?: TokenInfo & { top: TokenInfo[] };
  /** With the last token of a text. */
  finish?: FinishReason;
}

export type FinishReason = 'stop' | 'length';

/** Told when the prompt is made of tokens, before it is read. */
export interface Begun {
  /** Of this request. */
  promptTokens: number;
  /** In the state that it goes on from, which are not read again. */
  reusedTokens: number;
}

/** What a prompt that began a conversation had from earlier ones. */
export interface Prefix {
  /** Tokens that were not read again. */
  reusedTokens: number;
  /** Why the others were; none were without. */
  reason?: PrefixReason;
}

export type JobEvent =
  | ({ type: 'begun' } & Begun)
  /** Told before the first token, where prompts share their beginnings. */
  | { type: 'read'; prefix: Prefix }
  | { type: 'tokens'; tokens: TokenEvent[] }
  /** All texts have ended and the state is stored; `state` where there is one, `guesses` where tokens were guessed. */
  | { type: 'done'; state?: StateInfo; guesses?: Guesses };

/** Tokens that were guessed, in all texts of a request. */
export interface Guesses {
  accepted: number;
  rejected: number;
}

/** To the model's thread. */
export type Request =
  | { id: number; job: GenerateJob }
  | { id: number; task: Task }
  | { id: number; cancel: true }
  /** No more will be asked; what runs is broken off. */
  | { end: true };

/** From it; those of generations come in batches. */
export type Answer =
  | { ready: ModelInfo }
  | { batch: { id: number; event: JobEvent }[] }
  | { id: number; result: unknown }
  | { id: number; error: WireError }
  | { stats: EngineStats }
  | { failed: WireError };

export interface ModelInfo {
  name: string;
  vocabSize: number;
  /** Of a state after one token. */
  stateBytes: number;
  parameters: number;
  chat: boolean;
  toolForm: ToolForm | null;
  device: string;
  family: string;
  /** Milliseconds that loading took. */
  loaded: number;
}

/** How a model writes calls of functions. */
export type ToolForm = 'hermes' | 'qwen-xml' | 'kimi';

export interface EngineStats {
  /** States in memory. */
  states: number;
  stateBytes: number;
  /** Those at which prompts begin that share their beginning. */
  prefixStates: number;
  prefixBytes: number;
  /** Conversations in the batch, and tokens that one call of the model read lately. */
  active: number;
  tokensPerTick: number;
  /** Of tensors, all together. */
  tensorBytes: number;
}

/** What a model's thread is started with. */
export interface EngineSettings {
  name: string;
  folder: string;
  /** Of the smaller model that guesses for this one. */
  draft?: string;
  /** Folders of adapters, by name. */
  adapters: Readonly<Record<string, string>>;
  imports: readonly string[];
  device?: string;
  dtype?: 'float32' | 'bfloat16' | 'float64';
  /** What the weights of projections are packed into. */
  weights?: 'bfloat16' | 'int8';
  threads?: number;
  /** A file that stands in for the folder's chat template. */
  chatTemplate?: string;
  /** Where states lie beside memory; in memory only without. */
  stateFolder?: string;
  /** What states in memory may take. */
  stateBytes: number;
  /** What states may take at which prompts begin. */
  prefixBytes: number;
  /** A Redis that replicas of the server share states through, in place of a folder. */
  redis?: string;
  /** Requests at the same time. */
  maxRunning: number;
  maxPromptTokens: number;
  /** States that a key may have. */
  maxStates: number;
  /** Hours that states of responses are kept. */
  responseHours: number;
}
