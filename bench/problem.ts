// What is measured, as plain data: every contender reads the same problem and solves it in its own way.
import type { Device } from './library';

/** Where a problem is solved, and in what its tensors are stored; states and gates are float32. */
export interface Place {
  device: Device;
  dtype: 'float32' | 'bfloat16';
}

/** How products of float32 multiply: 'medium' rounds to bfloat16, sums stay float32. */
export type Precision = 'highest' | 'medium';

/** delta: erases before it writes. gate: none, one per head, or one per key channel. */
export interface Mixer {
  delta: boolean;
  gate: 'none' | 'scalar' | 'vector';
}

/** A whole sequence, q, k and v [B, T, H, D]. `training` is forward and backward together. */
export interface SequenceProblem extends Mixer, Place {
  kind: 'sequence';
  pass: 'forward' | 'backward' | 'training';
  B: number;
  T: number;
  H: number;
  D: number;
}

/** A rule whose output feeds back, by its name at the package root. */
export type FeedbackFamily = 'selfReferential' | 'recurrentDelta' | 'deltaRnn' | 'deltaLstm';

/** A whole sequence of a rule, heads of width D. */
export interface RuleProblem extends Place {
  pass: 'forward' | 'backward' | 'training';
  B: number;
  T: number;
  H: number;
  D: number;
}

/** One whose output feeds back. */
export interface FeedbackProblem extends RuleProblem {
  kind: 'feedback';
  family: FeedbackFamily;
}

/** A rule that grew out of the general recurrence, by its name at the package root (rwkv7: generalizedDeltaRule). */
export type DescendantRule =
  'mamba2Scan' | 'mlstm' | 'gsa' | 'rwkv6' | 'rwkv7' | 'comba' | 'mesa' | 'logLinearAttention' | 'tttLinear' | 'titans';

/** Tokens of a mini-batch of TTT, and of a chunk of Titans. */
export const [MINI_BATCH, TITANS_CHUNK] = [16, 64];

/** One that is measured by what a call of its base takes. */
export interface DescendantProblem extends RuleProblem {
  kind: 'descendant';
  rule: DescendantRule;
}

/** One token for B states in place. */
export interface StepProblem extends Mixer, Place {
  kind: 'step';
  B: number;
  H: number;
  D: number;
}

/** c[m, n] = a b, with a stored as [k, m] for TN and b as [n, k] for NT; `batch` of them. */
export interface MatmulProblem extends Place {
  kind: 'matmul';
  precision: Precision;
  form: 'NN' | 'NT' | 'TN';
  batch: number;
  m: number;
  n: number;
  k: number;
}

/** One optimiser step of the DeltaNet language model: forward, backward, AdamW. */
export interface LanguageModelProblem extends Place {
  kind: 'languageModel';
  layers: number;
  d: number;
  heads: number;
  hidden: number;
  vocabulary: number;
  B: number;
  T: number;
  precision: Precision;
}

/** One token of a text that a whole model writes, at batch 1; `prompt` is what is read before, where that counts. */
export interface GenerationProblem extends Place {
  kind: 'generation';
  /** DeltaNet by default, or softmax attention in the layout of Llama. */
  family?: 'transformer';
  layers: number;
  d: number;
  heads: number;
  hidden: number;
  vocabulary: number;
  prompt: number;
  /** What the weights of projections are kept in, float32 by default. */
  weights?: 'bfloat16' | 'int8';
}

/**
 * A token of each of so many texts that a whole DeltaNet writes at once; with `reads` the time between two tokens that one in
 * a hundred exceeds, while two others have prompts read.
 */
export interface BatchingProblem extends Omit<GenerationProblem, 'kind'> {
  kind: 'batching';
  sessions: number;
  reads: boolean;
}

/** Tokens of a text that is given, with guesses by what stood in it before or without. */
export interface SpeculationProblem extends Omit<GenerationProblem, 'kind'> {
  kind: 'speculation';
  written: 'rows' | 'prose';
  guesses: boolean;
  /** Of a call: they come in bursts. */
  tokens: number;
}

/** A long sequence in pieces, or token by token when `piece` is 1; the state goes from one to the next. */
export interface StreamProblem extends Mixer {
  kind: 'stream';
  piece: number;
  T: number;
  H: number;
  D: number;
}

/** How late a timer is while something else is computed and awaited, over and over. */
export interface EventLoopProblem {
  kind: 'eventLoop';
  during: LanguageModelProblem | SequenceProblem | GenerationProblem;
}

/** The least that can be asked of a device, one number set; `awaited` is there and back, else one of many in a row. */
export interface LaunchProblem extends Place {
  kind: 'launch';
  awaited: boolean;
}

export type Problem =
  | SequenceProblem
  | FeedbackProblem
  | DescendantProblem
  | StepProblem
  | MatmulProblem
  | LanguageModelProblem
  | GenerationProblem
  | BatchingProblem
  | SpeculationProblem
  | StreamProblem
  | EventLoopProblem
  | LaunchProblem;

export interface Case {
  /** family/what/size; --filter looks for its text in it. */
  name: string;
  shape: string;
  problem: Problem;
  /** Runs on one thread whatever was asked for. */
  serial?: boolean;
  /** A single trial: its calls are long. */
  once?: boolean;
  /** Bytes of memory that a card must have. */
  needs?: number;
}

/** Useful work of one call. What a method does beyond it does not count. */
export interface Work {
  /** Operations on numbers. */
  flops: number;
  /** Bytes of state read and written, where they are the limit; how fast memory of that size can be copied is the peak. */
  bytes?: number;
  /** Bytes of weights read, where they are; how fast memory of that size can be read is the peak. */
  reads?: number;
  tokens?: number;
}

/** Beyond this a set of states no longer fits the second-level cache of one core. */
const CACHE_BYTES = 2 ** 21;

/** And beyond this weights no longer fit the cache that cores share. */
const SHARED_CACHE_BYTES = 2 ** 27;

/** Bytes of a number of a projection. */
const WEIGHT_BYTES = { float32: 4, bfloat16: 2, int8: 1 };

/** A graphics card, real or emulated. */
export const isCard = (device: Device): boolean => device.startsWith('cuda');

/** Per token and head: S^T k and S^T q read the state and the write updates it, 2 K V each. */
function recurrenceFlops({ delta }: Mixer, K: number, V: number): number {
  return (delta ? 6 : 4) * K * V;
}

/**
 * Per token and head. SRWM: four reads and writes of [D, 3 D + 4] (x, key, query, write), 2 D (3 D + 4) each; Recurrent
 * Delta Net: a delta rule and a read of three recurrent matrices; Delta RNN: two delta rules; Delta LSTM: six.
 */
const FEEDBACK_FLOPS: Readonly<Record<FeedbackFamily, (D: number) => number>> = {
  selfReferential: (D) => 8 * D * (3 * D + 4),
  recurrentDelta: (D) => 12 * D * D,
  deltaRnn: (D) => 12 * D * D,
  deltaLstm: (D) => 36 * D * D,
};

/**
 * Per token and head, of rules that learn in chunks of C tokens: what the weights make of key and query and what the token adds
 * to them, 2 D^2 each (Titans adds to its momentum, too), and the products with the tokens before it in its chunk.
 */
const CHUNK_FLOPS: Readonly<Partial<Record<DescendantRule, (D: number) => number>>> = {
  tttLinear: (D) => 6 * D * D + 2 * MINI_BATCH * D,
  titans: (D) => 8 * D * D + 2 * TITANS_CHUNK * D,
};

type Sizes = Pick<GenerationProblem, 'layers' | 'd' | 'heads' | 'hidden' | 'vocabulary' | 'family'>;

/** Numbers in all projections. */
function projectionSize({ layers, d, heads, hidden, vocabulary, family }: Sizes): number {
  const betas = family === 'transformer' ? 0 : d * heads;
  return layers * (4 * d * d + betas + 3 * d * hidden) + d * vocabulary;
}

/** Of one token, forward; the embedding's table is not counted, nor attention to tokens before. */
function modelFlops(model: Sizes): number {
  const { layers, d, heads, family } = model;
  const mixer = family === 'transformer' ? 0 : recurrenceFlops({ delta: true, gate: 'none' }, d / heads, d / heads);
  return 2 * projectionSize(model) + layers * heads * mixer;
}

/** Undefined where the time does not tell of work. */
export function workOf(problem: Problem): Work | undefined {
  switch (problem.kind) {
    case 'sequence': {
      const { pass, B, T, H, D } = problem;
      const passes = { forward: 1, backward: 2, training: 3 }[pass];
      return { flops: passes * recurrenceFlops(problem, D, D) * B * T * H, tokens: B * T };
    }
    case 'feedback': {
      const { family, pass, B, T, H, D } = problem;
      const passes = { forward: 1, backward: 2, training: 3 }[pass];
      return { flops: passes * FEEDBACK_FLOPS[family](D) * B * T * H, tokens: B * T };
    }
    case 'step': {
      const { device, B, H, D } = problem;
      const state = 4 * B * H * D * D;
      const flops = recurrenceFlops(problem, D, D) * B * H;
      return state > CACHE_BYTES || isCard(device) ? { flops, bytes: 2 * state } : { flops };
    }
    case 'matmul':
      return { flops: 2 * problem.batch * problem.m * problem.n * problem.k };
    case 'languageModel': {
      const { B, T } = problem;
      return { flops: 3 * B * T * modelFlops(problem), tokens: B * T };
    }
    case 'generation': {
      const reads = WEIGHT_BYTES[problem.weights ?? 'float32'] * projectionSize(problem);
      return { flops: modelFlops(problem), tokens: 1, ...(reads > SHARED_CACHE_BYTES && { reads }) };
    }
    case 'speculation':
      return { flops: problem.tokens * modelFlops(problem), tokens: problem.tokens };
    case 'batching':
      return problem.reads ? undefined : { flops: problem.sessions * modelFlops(problem), tokens: problem.sessions };
    case 'stream':
      return { flops: recurrenceFlops(problem, problem.D, problem.D) * problem.T * problem.H, tokens: problem.T };
    case 'descendant': {
      const { rule, pass, B, T, H, D } = problem;
      const each = CHUNK_FLOPS[rule]?.(D);
      return each === undefined ? undefined : { flops: (pass === 'forward' ? 1 : 3) * each * B * T * H, tokens: B * T };
    }
    case 'eventLoop':
    case 'launch':
      return undefined;
  }
}
