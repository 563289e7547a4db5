// Generation: a prompt, then token by token, awaiting the device once for each.
import {
  argumentError,
  checkInteger,
  checkList,
  checkOptions,
  describe,
  HostRandom,
  takeStreams,
  type OptionNames,
} from '../core';
import { checkStopStrings, checkTokenizer, StreamDecoder, type Tokenizer } from '../io';
import type { RecurrentModel } from './model';
import { SeededSampler } from './sampler';
import type { SamplerState } from './samplerState';
import { checkSampling, type SampledToken, SAMPLING, type SamplingOptions, withDefaults } from './sampling';
import { checkSpeculate, type SpeculateOptions, type SpeculationCounts } from './speculation/options';

/** Options of `Session.generate` beside those of sampling; what is left out is taken from the model where it says. */
export interface GenerateOptions extends SamplingOptions {
  /** 256 by default. */
  maxNewTokens?: number;
  /** Makes the drawn tokens repeatable; without it they come from the generator of `manualSeed`. */
  seed?: number;
  /** Tokens that end the text; they are yielded, too. By default those of the model's configuration. */
  stopTokens?: readonly number[];
  /** Aborting it ends the generation with an ABORTED error, at the latest after the token at hand. */
  signal?: AbortSignal;
  /** Gives each token its `text`. */
  tokenizer?: Tokenizer;
  /**
   * Strings that end the text, also where they span several tokens, or parts of them; they need a `tokenizer`. The token
   * that completes one is yielded, as the last one, and belongs to a session's conversation as those before it do; only the
   * `text` is cut. None by default.
   */
  stopStrings?: readonly string[];
  /**
   * How many texts go on from the prompt, which is read once; 1 by default. They come one after the other, each from a copy
   * of the state, and the one of index i is drawn as with the seed `seed + i`. With more than one the session itself has read
   * the prompt when they end, and none of them.
   */
  samples?: number;
  /**
   * Goes on with the generation that yielded the session's last token as if it had not ended: with its random numbers, and
   * with the ids that it counted for penalties and showed to processors; so does a session that was forked from it, or that
   * restored a snapshot of it, also from a file. The prompt is empty then, `seed` left out, and the options of sampling are
   * those that are given now. `maxNewTokens` and `stopStrings` count from here on; `text` follows on what was generated.
   * After `feed`, `read` or `rollback` there is no such generation: an INVALID_ARGUMENT error. False by default.
   */
  resume?: boolean;
  /** Where the messages of the prompt end, counted in tokens from its beginning: a session's `prefixCache` keeps states before them. */
  messageEnds?: readonly number[];
  /**
   * Guesses tokens and reads several of them at once, which takes less time where most guesses are right; the text is what it would be but
   * for rounding. Off by default.
   */
  speculate?: SpeculateOptions;
}

const OPTIONS: OptionNames<GenerateOptions> = {
  ...SAMPLING,
  maxNewTokens: true,
  seed: true,
  stopTokens: true,
  signal: true,
  tokenizer: true,
  stopStrings: true,
  samples: true,
  resume: 'flag',
  messageEnds: true,
  speculate: true,
};

/** What `generate` yields: the id, and how probable the model held it. */
export interface GeneratedToken extends SampledToken {
  /**
   * Where there is a `tokenizer`: what this token adds to the text behind the prompt's, without special and stop tokens, as
   * far as no later token can change it. The last one brings what was held back; all together end before a stop string.
   */
  text?: string;
  /** The index of the text that it belongs to, where there are several `samples`. */
  sample?: number;
  /** With the last `text`: whether a stop token or a stop string ended it, or `maxNewTokens`. */
  finish?: 'stop' | 'length';
  /** With `speculate`: what came of guessing in this text so far. */
  speculation?: SpeculationCounts;
}

/** A session, as generation sees it. */
export interface Conversation {
  /** Reads a token that was said and not read yet, then these ids; the logits after the last one of the conversation. */
  listen(ids: Int32Array): Promise<ArrayLike<number>>;
  /** Takes over a token of the model's own, with what the draw of the next one depends on. */
  say(id: number, sampler: SamplerState): void;
  /** Where it speculates, what counts its guesses. */
  readonly speculation: { readonly counts: SpeculationCounts } | null;
  /** The generation is over, however it ended. */
  end(): void;
}

/** What a generation goes by, whatever happens to its options and to the generator of `manualSeed` after the call. */
export interface Plan {
  limit: number;
  stop: ReadonlySet<number>;
  samples: number;
  signal: AbortSignal | undefined;
  messageEnds: readonly number[];
  speculate: Required<SpeculateOptions> | null;
  /** What the text of an index goes by. */
  begin: (sample: number) => Voice;
}

interface Voice {
  sampler: SeededSampler;
  /** Where there is a tokenizer. */
  decoder: StreamDecoder | null;
}

/** What the model says where the caller does not. */
type Defaults = Pick<RecurrentModel, 'vocabSize' | 'stopTokens' | 'sampling' | 'verifyStages'>;

export function checkIsSignal(where: string, signal: unknown): void {
  if (signal === undefined || typeof (signal as AbortSignal | null)?.aborted === 'boolean') return;
  throw argumentError('INVALID_ARGUMENT', where, 'signal', 'an AbortSignal', describe(signal));
}

export function checkMessageEnds(where: string, ends: readonly number[], tokens: number): void {
  checkList(where, 'messageEnds', ends, 'a list of positions');
  ends.forEach((end, i) => checkInteger(where, `messageEnds[${i}]`, end, 0, tokens));
}

/**
 * Requires options that generation knows, with values that the model can follow; `before` is the generation that there is to
 * go on with.
 */
export function planOf(
  options: GenerateOptions,
  model: Defaults,
  prompt: Int32Array,
  before: SamplerState | null,
): Plan {
  const where = 'generate';
  checkOptions(where, options, OPTIONS);
  checkSampling(where, options, model.vocabSize);
  const { maxNewTokens = 256, seed, stopTokens = model.stopTokens, signal, samples = 1, messageEnds = [] } = options;
  checkInteger(where, 'maxNewTokens', maxNewTokens);
  checkInteger(where, 'samples', samples, 1, MOST_SAMPLES);
  if (seed !== undefined) checkInteger(where, 'seed', seed, 0, Number.MAX_SAFE_INTEGER - (samples - 1));
  if (stopTokens !== model.stopTokens) checkStopTokens(where, stopTokens, model.vocabSize);
  checkIsSignal(where, signal);
  checkMessageEnds(where, messageEnds, prompt.length);
  const speculate = options.speculate === undefined ? null : checkSpeculate(where, options.speculate, model);
  const resumed = options.resume ? checkResume(where, options, prompt, before) : null;
  const decoderOf = decoders(where, options, resumed?.ids ?? prompt);
  const sampling = withDefaults(options, model.sampling ?? {});
  const randomOf = resumed ? null : randoms(seed, samples);
  const begin = (sample: number): Voice => ({
    sampler: randomOf
      ? new SeededSampler(where, sampling, model.vocabSize, randomOf(sample), prompt)
      : SeededSampler.resume(where, sampling, model.vocabSize, resumed!),
    decoder: decoderOf(),
  });
  const ends = [...messageEnds];
  return { limit: maxNewTokens, stop: new Set(stopTokens), samples, signal, messageEnds: ends, speculate, begin };
}

/** Each takes a stream of random numbers, which are counted in whole numbers. */
const MOST_SAMPLES = 2 ** 31 - 1;

/** Requires a generation to go on with, and nothing that would begin another one. */
function checkResume(
  where: string,
  { seed, samples = 1 }: GenerateOptions,
  prompt: Int32Array,
  before: SamplerState | null,
): SamplerState {
  const refuse = (argument: string, expected: string, found: string): never => {
    throw argumentError('INVALID_ARGUMENT', where, argument, expected, found);
  };
  if (prompt.length > 0) refuse('ids', 'none with resume', `${prompt.length}`);
  if (seed !== undefined) refuse('seed', 'left out with resume', `${seed}`);
  if (samples !== 1) refuse('samples', '1 with resume', `${samples}`);
  return before ?? refuse('resume', 'left out where no generation yielded the last token', 'true');
}

/** So many ids of a prompt say how the text goes on behind it. */
const CONTEXT = 64;

/** Makes the decoder of a text; null without a tokenizer. */
function decoders(where: string, options: GenerateOptions, prompt: Int32Array): () => StreamDecoder | null {
  const { tokenizer, stopStrings = [] } = options;
  checkStopStrings(where, stopStrings);
  if (tokenizer === undefined && stopStrings.length === 0) return () => null;
  checkTokenizer(where, tokenizer);
  stopStrings.forEach((text, i) => refuseSpecial(where, `stopStrings[${i}]`, text, tokenizer));
  const streaming = { prompt: prompt.subarray(-CONTEXT), skipSpecialTokens: true, stopStrings: [...stopStrings] };
  return () => new StreamDecoder(tokenizer, streaming);
}

/** A special token is no part of the text, which could never end there. */
function refuseSpecial(where: string, name: string, text: string, tokenizer: Tokenizer): void {
  const ids = tokenizer.encode(text, { onUnknown: () => {} });
  if (ids.length !== 1 || tokenizer.decode(ids, { skipSpecialTokens: true }) !== '') return;
  if (tokenizer.decode(ids) !== text) return;
  throw argumentError(
    'INVALID_ARGUMENT',
    where,
    name,
    `text: ${ids[0]} in stopTokens ends there`,
    JSON.stringify(text),
  );
}

/** The random numbers of each sample, settled by the call. */
function randoms(seed: number | undefined, samples: number): (sample: number) => HostRandom {
  if (seed !== undefined) return (sample) => new HostRandom(seed + sample);
  const first = takeStreams(samples);
  return (sample) => new HostRandom(first.seed, first.stream + sample);
}

function checkStopTokens(where: string, tokens: readonly number[], vocabSize: number): void {
  if (!Array.isArray(tokens) && !ArrayBuffer.isView(tokens)) {
    throw argumentError('INVALID_ARGUMENT', where, 'stopTokens', 'a list of token ids', describe(tokens));
  }
  Array.from(tokens as readonly number[]).forEach((id, i) => {
    checkInteger(where, `stopTokens[${i}]`, id, 0, vocabSize - 1);
  });
}

/** Goes on with a conversation, which has read the prompt but for `unread`: the text of one index. */
export async function* generate(
  conversation: Conversation,
  unread: Int32Array,
  { limit, stop, samples, begin }: Plan,
  sample = 0,
): AsyncGenerator<GeneratedToken, void, undefined> {
  const { sampler, decoder } = begin(sample);
  const index = samples > 1 ? { sample } : {};
  const { speculation } = conversation;
  try {
    let logits = await conversation.listen(unread);
    for (let count = 1; count <= limit; count++) {
      const token = sampler.choose(logits);
      sampler.take(token.id);
      const stopped = stop.has(token.id);
      let last = stopped || count === limit;
      let text: string | undefined;
      if (decoder) {
        text = stopped ? '' : decoder.push(token.id);
        if (decoder.stopped) last = true;
        else if (last) text += decoder.flush();
      }
      // Behind all that may fail: what nobody was given is not said.
      conversation.say(token.id, sampler.state);
      const told = speculation && { speculation: { ...speculation.counts } };
      const finish = stopped || decoder?.stopped ? 'stop' : 'length';
      const said = text === undefined ? {} : { text, ...(last && ({ finish } as const)) };
      yield { ...token, ...index, ...said, ...told };
      if (last) return;
      logits = await conversation.listen(NOTHING);
    }
  } finally {
    conversation.end();
  }
}

export const NOTHING = new Int32Array();
