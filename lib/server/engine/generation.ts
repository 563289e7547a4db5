// One request for generated text: the prompt, the tokens, and the state that is left.
import { FastWeightsError } from '../../core';
import type {
  GeneratedToken,
  LogitProcessor,
  SamplingOptions,
  Session,
  SpeculateOptions,
  SpeculationCounts,
  TokenProbability,
} from '../../inference';
import type { Tokenizer } from '../../io';
import { invalid } from '../errors';
import { begunWith, checkTools, type Conversation, noteOf, placeIn, readNote } from './conversation';
import type { Encoded } from './encoding';
import type { Matcher } from './grammar';
import type { Host } from './host';
import type { Drawing, GenerateJob, JobEvent, Prefix, Prompt, StateInfo, TokenEvent, TokenInfo } from './protocol';

/** OpenAI's, where neither the request nor the model says how to draw. */
const TEMPERATURE = 1;

export async function* generation(host: Host, job: GenerateJob, signal: AbortSignal): AsyncGenerator<JobEvent> {
  const { from, to, prompt } = job;
  // A conversation that goes on in its own place has one writer; others only read.
  const key = to !== undefined && to === from ? to : undefined;
  if (key !== undefined) await host.states.hold(key, signal);
  try {
    let usual: Encoded | undefined;
    if (key !== undefined && host.states.isShared) {
      // What is wrong with a request takes the session from nobody.
      await host.states.checkThere(key);
      usual = await readable(host, prompt, signal);
      await host.states.claim(key);
    }
    const begun = await begin(host, from, { ...job, adapter: job.adapter ?? null });
    using session = begun.session;
    const reusedTokens = session.length;
    const { conversation } = begun;
    const place = placeIn(conversation, reusedTokens);
    if (place !== 'empty') checkTools(prompt, conversation);
    const { ids, messageEnds } = place === 'said' && usual ? usual : await host.encode(prompt, place, signal);
    if (ids.length === 0 && reusedTokens === 0) {
      throw invalid('prompt', 'The prompt must hold at least one token; this one holds none.');
    }
    yield { type: 'begun', promptTokens: ids.length, reusedTokens };
    const note = noteOf(place === 'empty' ? begunWith(prompt) : conversation);
    yield { type: 'done', ...(yield* texts(host, { ...job, note }, session, { ids, messageEnds }, signal)) };
  } finally {
    if (key !== undefined) host.states.release(key);
  }
}

/** Requires a prompt that some state can go on with: as it is behind the assistant's words, where that is one. */
async function readable(host: Host, prompt: Prompt, signal: AbortSignal): Promise<Encoded | undefined> {
  if (prompt.kind === 'chat' && prompt.messages.length === 0) return undefined;
  try {
    return await host.encode(prompt, 'said', signal);
  } catch {
    await host.encode(prompt, 'empty', signal);
    return undefined;
  }
}

/**
 * A session of a stored state, or of none, which shares its beginning with others of the same owner, and what is known of it. A state
 * goes on through the adapter that it came through; where `adapter` is said, also as null, it must be that one.
 */
export async function begin(
  host: Host,
  from?: string,
  { history = false, owner, adapter }: { history?: boolean; owner?: string; adapter?: string | null } = {},
): Promise<{ session: Session; conversation: Conversation }> {
  if (from === undefined) {
    const session = host.createSession({
      history,
      prefixCache: host.prefixes,
      prefixOwner: owner,
      adapter: adapter ?? undefined,
    });
    return { session, conversation: {} };
  }
  using snapshot = await host.states.get(from);
  const conversation = readNote(snapshot.note);
  const own = host.adapterOf(snapshot);
  if (adapter !== undefined && own !== (adapter ?? undefined)) {
    const { name } = host.info;
    const right = own === undefined ? name : `${name}:${own}`;
    throw invalid(
      'model',
      `What is stored there was written by '${right}', and goes on with it alone.`,
      'wrong_adapter',
    );
  }
  // Ids are kept where the state has them.
  return { session: host.createSession({ history: true, from: snapshot, adapter: own }), conversation };
}

async function* texts(
  host: Host,
  job: GenerateJob & { note: string },
  session: Session,
  { ids, messageEnds }: Encoded,
  signal: AbortSignal,
): AsyncGenerator<JobEvent, Pick<JobEvent & { type: 'done' }, 'state' | 'guesses'>> {
  const { model } = host;
  const guesser = job.speculate && guesserOf(host, job.speculate);
  const stop = new Set(job.ignoreStopTokens ? [] : [...model.stopTokens, ...(job.stopTokens ?? [])]);
  const matcher = job.constraint && (await host.grammars.matcher(job.constraint, job.owner ?? ''));
  const tokenizer = job.special ? withSpecialTokens(host.tokenizer) : host.tokenizer;
  if (matcher && job.samples > 1 && stop.size === 0) {
    throw invalid('n', 'A model without stop tokens writes one constrained text at a time: n must be 1.');
  }
  let kept: StateInfo | undefined;
  /** Of each text. */
  const counts: SpeculationCounts[] = [];
  let last: number | undefined;
  try {
    // With nothing to write the prompt is read all the same.
    if (job.maxTokens === 0) {
      if (ids.length > 0) (await session.read(ids, { signal, messageEnds })).dispose();
      yield* prefixRead(session);
    } else {
      const tokens = session.generate(ids, {
        ...sampling(host, job.drawing, matcher),
        maxNewTokens: job.maxTokens,
        seed: job.seed,
        stopTokens: [...stop],
        stopStrings: job.stop,
        samples: job.samples,
        resume: job.resume || undefined,
        tokenizer,
        signal,
        messageEnds,
        speculate: guesser && { guesser },
      });
      for await (const token of tokens) {
        if (last === undefined) yield* prefixRead(session);
        last = token.id;
        if (token.speculation) counts[token.sample ?? 0] = token.speculation;
        const event = eventOf(host, job, token);
        if (matcher) {
          if (event.finish !== undefined) await matcher.reset();
          else if (!(await matcher.accept(token.id))) event.finish = 'stop';
        }
        yield { type: 'tokens', tokens: [event] };
        // Nothing else ends a text before its last sample does.
        if (event.finish !== undefined && job.samples === 1) break;
      }
    }
  } catch (error) {
    const aborted = error instanceof FastWeightsError && error.code === 'ABORTED';
    if (aborted && job.keepPart && last !== undefined) await keep();
    throw error;
  } finally {
    matcher?.dispose();
  }
  await keep();
  const accepted = counts.reduce((sum, each) => sum + each.accepted, 0);
  const guesses = guesser && { accepted, rejected: counts.reduce((sum, { guessed }) => sum + guessed, -accepted) };
  return { ...(kept && { state: kept }), ...(guesses && { guesses }) };

  async function keep(): Promise<void> {
    if (job.to === undefined) return;
    // The template, or whoever goes on, ends the text: a stop token is no part of it.
    if (last !== undefined && stop.has(last) && job.samples === 1) await session.rollback(1);
    kept = await host.store(job.to, session, job.note);
  }
}

/** What the prompt had from earlier ones, where prompts share their beginnings. */
function* prefixRead(session: Session): Generator<JobEvent> {
  const prefix = prefixOf(session);
  if (prefix) yield { type: 'read', prefix };
}

/** What is told of the prompt that a session has read; null where it read none. */
export function prefixOf({ prefix }: Session): Prefix | null {
  return prefix && { reusedTokens: prefix.reusedTokens, ...(prefix.reason && { reason: prefix.reason }) };
}

function guesserOf({ draft, info }: Host, speculate: 'ngram' | 'draft'): SpeculateOptions['guesser'] {
  if (speculate === 'ngram') return speculate;
  if (draft) return draft;
  throw invalid('speculate', `The model '${info.name}' has no draft here: start the server with --draft.`);
}

function sampling(host: Host, drawing: Drawing, matcher: Matcher | undefined): SamplingOptions {
  const mask: LogitProcessor | undefined = matcher && ((logits) => matcher.mask(logits));
  const { temperature = host.model.sampling?.temperature ?? TEMPERATURE, ...rest } = drawing;
  return { ...rest, temperature, ...(mask && { logitProcessors: [mask] }) };
}

function eventOf(host: Host, job: GenerateJob, token: GeneratedToken): TokenEvent {
  const { id, sample = 0, text = '', logProbability, topLogprobs = [], finish } = token;
  const event: TokenEvent = { sample, text, id, finish };
  if (job.logprobs) {
    const describe = (each: TokenProbability): TokenInfo => tokenInfo(host.tokenizer, each);
    event.info = { ...describe({ id, logProbability }), top: topLogprobs.map(describe) };
  }
  return event;
}

export function tokenInfo(tokenizer: Tokenizer, { id, logProbability }: TokenProbability): TokenInfo {
  const token = id < tokenizer.vocabSize ? tokenizer.decode([id]) : '';
  const bytes = token.includes('\uFFFD') ? null : [...new TextEncoder().encode(token)];
  return { token, bytes, logprob: logProbability };
}

/** The same tokenizer, to which no token is special when it decodes: calls of functions may be written with such. */
function withSpecialTokens(tokenizer: Tokenizer): Tokenizer {
  const stream = tokenizer.stream && ((): ReturnType<NonNullable<Tokenizer['stream']>> => tokenizer.stream!());
  return { ...tokenizer, decode: (ids) => tokenizer.decode(ids), ...(stream && { stream }) };
}
