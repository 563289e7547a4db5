// What a model's fast weights did in a conversation: its last tokens are read again, and looked at meanwhile.
import { inspectFastWeights, type Inspection, pageMemory, type PageMemory } from '../../inspect';
import { ApiError, invalid } from '../errors';
import { begin } from './generation';
import type { Host } from './host';
import type { InspectTask } from './protocol';

/** What was found of one head's matrix. */
export interface SessionInspection extends Pick<Inspection, 'model' | 'places'> {
  /** Tokens of the session. */
  length: number;
  /** How many of them had not to be read again. */
  reused: number;
  /** The place of the first one that was looked at, from 0. */
  first: number;
  /** What each of them decodes to alone. */
  tokens: string[];
  memory: MemoryFacts;
  /** What the page draws from. */
  page?: PageMemory;
}

/** Numbers by step: one for each token, several where a rule writes several times. */
export interface MemoryFacts {
  layer: number;
  head: number;
  matrix: string;
  rule: string;
  writesPerToken: number;
  written: Float64Array;
  strength: Float64Array | null;
  forgets: Float64Array | null;
  knownBefore: Float64Array;
  knownAfter: Float64Array;
  knownNow: Float64Array;
  /** Of each write, after the last step. */
  kept: Float64Array;
  norm: Float64Array;
  singular: Float64Array;
  effectiveRank: number;
  /** By how much the last query reads the value of each write. */
  reads: Float64Array;
  /** What it reads from before the first step, in lengths of all that it reads. */
  readsBefore: number;
  /** Writes that took more than the threshold of what an earlier one had left, the largest shares first. */
  overwrites: { step: number; of: number; share: number }[];
}

/** Most pairs that are told. */
const MOST_OVERWRITES = 256;

export async function inspectSession(host: Host, task: InspectTask, signal: AbortSignal): Promise<SessionInspection> {
  const ids = await idsOf(host, task.key);
  const first = Math.max(0, ids.length - task.tokens);
  const window = ids.subarray(first);
  using session = host.createSession({ prefixCache: host.prefixes, prefixOwner: task.owner });
  if (first > 0) (await session.read(ids.subarray(0, first), { signal })).dispose();
  using snapshot = session.snapshot();
  const { layer, head = 1, matrix } = task;
  // One memory is always kept, and no others are wanted.
  const options = { initialState: snapshot.state, layer, head, matrix, survey: task.survey, limit: 0, signal };
  const { model, places, memories } = await inspectFastWeights(host.model, window, options);
  const tokens = Array.from(window, (id) => (id < host.tokenizer.vocabSize ? host.tokenizer.decode([id]) : ''));
  const page = task.page ? { page: pageMemory(memories[0]) } : {};
  const reused = session.prefix?.reusedTokens ?? 0;
  const memory = factsOf(memories[0], task.threshold);
  return { model, places, length: ids.length, reused, first, tokens, memory, ...page };
}

async function idsOf(host: Host, key: string): Promise<Int32Array> {
  const begun = await begin(host, key);
  using session = begun.session;
  const { ids } = session;
  if (ids === null) {
    const remedy = "Sessions that are made with 'history': true keep them.";
    throw new ApiError(400, `What this session has read is not kept. ${remedy}`, { code: 'unsupported' });
  }
  if (ids.length === 0) throw invalid(null, 'The session has read nothing yet.');
  const most = host.settings.maxPromptTokens;
  if (ids.length > most) {
    const message = `This server reads at most ${most} tokens in a request; the session has ${ids.length}.`;
    throw invalid(null, message, 'context_length_exceeded');
  }
  return ids;
}

function factsOf(
  { layer, head, matrix, rule, writesPerToken, course }: Inspection['memories'][number],
  threshold: number,
): MemoryFacts {
  const { written, strength, forgets, knownBefore, knownAfter, knownNow, norm } = course;
  const { singular, value } = course.rank.at(-1)!;
  const { weights, initial, output } = course.dual.at(-1)!;
  const overwrites = course.fates
    .flatMap(({ taken }, of) => Array.from(taken, (share, n) => ({ step: of + n, of, share })))
    .filter(({ share }) => share > threshold)
    .sort((a, b) => b.share - a.share)
    .slice(0, MOST_OVERWRITES);
  return {
    layer,
    head,
    matrix,
    rule,
    writesPerToken,
    written,
    strength,
    forgets,
    knownBefore,
    knownAfter,
    knownNow,
    kept: Float64Array.from(course.fates, ({ kept }) => kept.at(-1)!),
    norm,
    singular,
    effectiveRank: value,
    reads: weights,
    readsBefore: Math.hypot(...initial) / Math.hypot(...output),
    overwrites,
  };
}
