// What a model's fast weights did in a conversation: its last tokens are read again, and looked at meanwhile. Where they were not
// kept, what is in the matrices and what the next token writes.
import { inspectFastWeights, type Inspection, pageMemory, type PageMemory } from '../../inspect';
import type { Session, Snapshot } from '../../inference';
import { invalid } from '../errors';
import { begin } from './generation';
import type { Host } from './host';
import type { InspectTask } from './protocol';

/** What was found of one head's matrix. */
export interface SessionInspection extends Pick<Inspection, 'model' | 'places'> {
  /** Tokens of the session. */
  length: number;
  /** How many were read for this, and how many of those before had not to be read again. */
  read: number;
  reused: number;
  /** The place of the first one that was looked at, from 0. */
  first: number;
  /** Of a session without a history: whether nothing is to be read next, and what was looked at is the most probable token. */
  supposed?: boolean;
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
  using session = (await begin(host, task.key)).session;
  const { length, ids } = session;
  if (length === 0) throw invalid(null, 'The session has read nothing yet.');
  const adapter = adapterOf(host, session);
  const look = ids ? await lastTokens(host, ids, task, adapter, signal) : await nextTokens(session, signal);
  using snapshot = look.before;
  const { layer, head = 1, matrix } = task;
  // One memory is always kept, and no others are wanted.
  const options = { initialState: snapshot.state, layer, head, matrix, survey: task.survey, limit: 0, signal };
  const reader = adapter === undefined ? host.model : host.model.withAdapter(adapter);
  const { model, places, memories } = await inspectFastWeights(reader, look.ids, options);
  const tokens = Array.from(look.ids, (id) => (id < host.tokenizer.vocabSize ? host.tokenizer.decode([id]) : ''));
  const page = task.page ? { page: pageMemory(memories[0]) } : {};
  const { first, read, reused, supposed } = look;
  const memory = factsOf(memories[0], task.threshold);
  return { model, places, length, read, reused, first, supposed, tokens, memory, ...page };
}

/** Tokens to look at, and the state before them. */
interface Window extends Pick<SessionInspection, 'first' | 'read' | 'reused' | 'supposed'> {
  ids: Int32Array;
  before: Snapshot;
}

/** The last ones of those that were kept; what is before them is read again, but for what there is of other prompts. */
async function lastTokens(
  host: Host,
  ids: Int32Array,
  { owner, tokens }: InspectTask,
  adapter: string | undefined,
  signal: AbortSignal,
): Promise<Window> {
  const most = host.settings.maxPromptTokens;
  if (ids.length > most) {
    const message = `This server reads at most ${most} tokens in a request; the session has ${ids.length}.`;
    throw invalid(null, message, 'context_length_exceeded');
  }
  const first = Math.max(0, ids.length - tokens);
  using session = host.createSession({ prefixCache: host.prefixes, prefixOwner: owner, adapter });
  if (first > 0) (await session.read(ids.subarray(0, first), { signal })).dispose();
  const reused = session.prefix?.reusedTokens ?? 0;
  return { ids: ids.subarray(first), before: session.snapshot(), first, read: ids.length - reused, reused };
}

/** Without a history: those that the state is to read next, or the most probable one where none was said. */
async function nextTokens(session: Session, signal: AbortSignal): Promise<Window> {
  const { length } = session;
  const supposed = session.unread.length === 0;
  if (supposed) {
    const one = { maxNewTokens: 1, temperature: 0, stopTokens: [], signal };
    for await (const _ of session.generate([], one));
  }
  const ids = session.unread;
  const first = supposed ? length : length - ids.length;
  return { ids, before: session.snapshot(), first, read: ids.length, reused: 0, supposed };
}

function adapterOf(host: Host, session: Session): string | undefined {
  using snapshot = session.snapshot();
  return host.adapterOf(snapshot);
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
