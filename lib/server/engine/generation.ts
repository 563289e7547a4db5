// One request for generated text: the prompt, the tokens, and the state that is left.
import { FastWeightsError } from '../../core';
import type { GeneratedToken, LogitProcessor, SamplingOptions, Session, TokenProbability } from '../../inference';
import { StreamDecoder, type Tokenizer } from '../../io';
import { ApiError, invalid } from '../errors';
import type { Matcher } from './grammar';
import type { Host } from './host';
import type { Drawing, GenerateJob, JobEvent, Prompt, StateInfo, TokenEvent, TokenInfo } from './protocol';

/** OpenAI's, where neither the request nor the model says how to draw. */
const TEMPERATURE = 1;

/** Ids of a prompt that say how the text behind it goes on. */
const CONTEXT = 64;

export async function* generation(host: Host, job: GenerateJob, signal: AbortSignal): AsyncGenerator<JobEvent> {
  const { from, to } = job;
  // A conversation that goes on in its own place has one writer; others only read.
  const key = to !== undefined && to === from ? to : undefined;
  if (key !== undefined) host.states.hold(key);
  try {
    if (key !== undefined) {
      // What is wrong with a request takes the session from nobody.
      await host.states.checkThere(key);
      promptIds(host, job.prompt, true);
      await host.states.claim(key);
    }
    using session = await begin(host, from, job);
    const reusedTokens = session.length;
    const ids = promptIds(host, job.prompt, reusedTokens > 0);
    if (ids.length === 0 && reusedTokens === 0) {
      throw invalid('prompt', 'The prompt must hold at least one token; this one holds none.');
    }
    yield { type: 'begun', promptTokens: ids.length, reusedTokens };
    const state = yield* texts(host, job, session, ids, signal);
    yield { type: 'done', ...(state && { state }) };
  } finally {
    if (key !== undefined) host.states.release(key);
  }
}

/** A session of a stored state, or of none, which shares its beginning with others of the same owner. */
export async function begin(
  host: Host,
  from?: string,
  { history = false, owner }: { history?: boolean; owner?: string } = {},
): Promise<Session> {
  if (from === undefined) return host.createSession({ history, prefixCache: host.prefixes, prefixOwner: owner });
  using snapshot = await host.states.get(from);
  // Ids are kept where the state has them.
  return host.createSession({ history: true, from: snapshot });
}

export function promptIds(host: Host, prompt: Prompt, goesOn: boolean): number[] {
  const { tokenizer, model } = host;
  const ids = ((): number[] => {
    switch (prompt.kind) {
      case 'ids':
        return [...prompt.ids];
      case 'text':
        return tokenizer.encode(prompt.text, { addSpecialTokens: !goesOn });
      case 'chat': {
        const text = goesOn ? host.chat.continuation(prompt) : host.chat.render(prompt);
        return tokenizer.encode(text, { addSpecialTokens: false });
      }
    }
  })();
  const most = host.settings.maxPromptTokens;
  if (ids.length > most) {
    const message = `This server reads at most ${most} tokens in a request; the prompt has ${ids.length}.`;
    throw invalid('prompt', message, 'context_length_exceeded');
  }
  const wrong = ids.find((id) => id >= model.vocabSize);
  if (wrong !== undefined) {
    throw invalid('prompt', `Token ids of this model are below ${model.vocabSize}; the prompt holds ${wrong}.`);
  }
  return ids;
}

async function* texts(
  host: Host,
  job: GenerateJob,
  session: Session,
  ids: number[],
  signal: AbortSignal,
): AsyncGenerator<JobEvent, StateInfo | undefined> {
  const { model } = host;
  const stop = new Set(job.ignoreStopTokens ? [] : [...model.stopTokens, ...(job.stopTokens ?? [])]);
  const matcher = job.constraint && (await host.grammars.matcher(job.constraint));
  const tokenizer = job.special ? withSpecialTokens(host.tokenizer) : host.tokenizer;
  if (matcher && job.samples > 1 && stop.size === 0) {
    throw invalid('n', 'A model without stop tokens writes one constrained text at a time: n must be 1.');
  }
  let kept: StateInfo | undefined;
  let last: number | undefined;
  try {
    // With nothing to write the prompt is read all the same.
    if (job.maxTokens === 0) (await session.read(ids, { signal })).dispose();
    else {
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
      });
      const ends = new TextEnds(job, stop, tokenizer, ids.slice(-CONTEXT));
      for await (const token of tokens) {
        if (last === undefined && session.prefix) {
          const { reusedTokens, reason } = session.prefix;
          yield { type: 'read', prefix: { reusedTokens, ...(reason && { reason }) } };
        }
        last = token.id;
        const event = eventOf(host, job, token, ends);
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
    throw aborted ? new ApiError(499, 'The request was broken off.', { code: 'aborted', cause: error }) : error;
  } finally {
    matcher?.dispose();
  }
  await keep();
  return kept;

  async function keep(): Promise<void> {
    if (job.to === undefined) return;
    // The template, or whoever goes on, ends the text: a stop token is no part of it.
    if (last !== undefined && stop.has(last) && job.samples === 1) await session.rollback(1);
    kept = await host.store(job.to, session);
  }
}

function sampling(host: Host, drawing: Drawing, matcher: Matcher | undefined): SamplingOptions {
  const mask: LogitProcessor | undefined = matcher && ((logits) => matcher.mask(logits));
  const { temperature = host.model.sampling?.temperature ?? TEMPERATURE, ...rest } = drawing;
  return { ...rest, temperature, ...(mask && { logitProcessors: [mask] }) };
}

function eventOf(host: Host, job: GenerateJob, token: GeneratedToken, ends: TextEnds): TokenEvent {
  const { id, sample = 0, text = '', logProbability, topLogprobs = [] } = token;
  const event: TokenEvent = { sample, text, id, finish: ends.of(id) };
  if (job.logprobs) {
    const describe = (each: TokenProbability): TokenInfo => tokenInfo(host.tokenizer, each);
    event.info = { ...describe({ id, logProbability }), top: topLogprobs.map(describe) };
  }
  return event;
}

/** Why texts end. */
class TextEnds {
  private ids: number[] = [];

  constructor(
    private readonly job: GenerateJob,
    private readonly stop: ReadonlySet<number>,
    private readonly tokenizer: Tokenizer,
    private readonly prompt: readonly number[],
  ) {}

  /** With each token; undefined where the text goes on. */
  of(id: number): 'stop' | 'length' | undefined {
    this.ids.push(id);
    const stopped = this.stop.has(id) || this.stoppedByText();
    const finish = stopped ? 'stop' : this.ids.length >= this.job.maxTokens ? 'length' : undefined;
    if (finish !== undefined) {
      this.ids = [];
      this.decoder = null;
    }
    return finish;
  }

  private decoder: StreamDecoder | null = null;

  private stoppedByText(): boolean {
    const { job, tokenizer, prompt } = this;
    if (job.stop.length === 0) return false;
    this.decoder ??= new StreamDecoder(tokenizer, { prompt, skipSpecialTokens: true, stopStrings: [...job.stop] });
    this.decoder.push(this.ids.at(-1)!);
    return this.decoder.stopped;
  }
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
