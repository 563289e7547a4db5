// Generation: a prompt, then token by token, awaiting the device once for each.
import {
  argumentError,
  checkInteger,
  checkOptions,
  describe,
  generatorState,
  HostRandom,
  nextStream,
  type OptionNames,
} from '../core';
import { checkStopStrings, checkTokenizer, StreamDecoder, type Tokenizer } from '../io';
import { Sampler } from './sampler';
import { checkSampling, type SampledToken, SAMPLING, type SamplingOptions, withDefaults } from './sampling';

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
}

const OPTIONS: OptionNames<GenerateOptions> = {
  ...SAMPLING,
  maxNewTokens: true,
  seed: true,
  stopTokens: true,
  signal: true,
  tokenizer: true,
  stopStrings: true,
};

/** What `generate` yields: the id, and how probable the model held it. */
export interface GeneratedToken extends SampledToken {
  /**
   * Where there is a `tokenizer`: what this token adds to the text behind the prompt's, without special and stop tokens, as
   * far as no later token can change it. The last one brings what was held back; all together end before a stop string.
   */
  text?: string;
}

/** A session, as generation sees it. */
interface Conversation {
  /** Reads a token that was said and not read yet, then these ids; the logits after the last one of the conversation. */
  listen(ids: Int32Array): Promise<ArrayLike<number>>;
  /** Takes over a token of the model's own. */
  say(id: number): void;
}

/** What a generation goes by, whatever happens to its options and to the generator of `manualSeed` after the call. */
export interface Plan {
  limit: number;
  stop: ReadonlySet<number>;
  sampler: Sampler;
  signal: AbortSignal | undefined;
  decoder: StreamDecoder | null;
}

/** What the model says where the caller does not. */
interface Defaults {
  readonly vocabSize: number;
  readonly stopTokens: readonly number[];
  readonly sampling?: SamplingOptions;
}

export function checkIsSignal(where: string, signal: unknown): void {
  if (signal === undefined || typeof (signal as AbortSignal | null)?.aborted === 'boolean') return;
  throw argumentError('INVALID_ARGUMENT', where, 'signal', 'an AbortSignal', describe(signal));
}

/** Requires options that generation knows, with values that the model can follow. */
export function planOf(options: GenerateOptions, model: Defaults, prompt: Int32Array): Plan {
  const where = 'generate';
  checkOptions(where, options, OPTIONS);
  checkSampling(where, options, model.vocabSize);
  const { maxNewTokens = 256, seed, stopTokens = model.stopTokens, signal } = options;
  checkInteger(where, 'maxNewTokens', maxNewTokens);
  if (seed !== undefined) checkInteger(where, 'seed', seed);
  if (stopTokens !== model.stopTokens) checkStopTokens(where, stopTokens, model.vocabSize);
  checkIsSignal(where, signal);
  const sampling = withDefaults(options, model.sampling ?? {});
  const sampler = new Sampler(sampling, model.vocabSize, randomOf(seed), prompt);
  return { limit: maxNewTokens, stop: new Set(stopTokens), sampler, signal, decoder: decoderOf(options, prompt) };
}

/** So many ids of a prompt say how the text goes on behind it. */
const CONTEXT = 64;

function decoderOf({ tokenizer, stopStrings = [] }: GenerateOptions, prompt: Int32Array): StreamDecoder | null {
  const where = 'generate';
  checkStopStrings(where, stopStrings);
  if (tokenizer === undefined && stopStrings.length === 0) return null;
  checkTokenizer(where, tokenizer);
  const end = prompt.subarray(-CONTEXT);
  return new StreamDecoder(tokenizer, { prompt: end, skipSpecialTokens: true, stopStrings });
}

function randomOf(seed: number | undefined): HostRandom {
  if (seed !== undefined) return new HostRandom(seed);
  const { stream } = nextStream();
  return new HostRandom(generatorState().seed, stream);
}

function checkStopTokens(where: string, tokens: readonly number[], vocabSize: number): void {
  if (!Array.isArray(tokens) && !ArrayBuffer.isView(tokens)) {
    throw argumentError('INVALID_ARGUMENT', where, 'stopTokens', 'a list of token ids', describe(tokens));
  }
  Array.from(tokens as readonly number[]).forEach((id, i) => {
    checkInteger(where, `stopTokens[${i}]`, id, 0, vocabSize - 1);
  });
}

/** Goes on with a conversation. */
export async function* generate(
  conversation: Conversation,
  prompt: Int32Array,
  { limit, stop, sampler, decoder }: Plan,
): AsyncGenerator<GeneratedToken, void, undefined> {
  let logits = await conversation.listen(prompt);
  for (let count = 1; count <= limit; count++) {
    const token = sampler.choose(logits);
    sampler.take(token.id);
    conversation.say(token.id);
    const stopped = stop.has(token.id);
    const last = stopped || count === limit;
    if (!decoder) yield token;
    else {
      let text = stopped ? '' : decoder.push(token.id);
      if (decoder.stopped) return yield { ...token, text };
      if (last) text += decoder.flush();
      yield { ...token, text };
    }
    if (last) return;
    logits = await conversation.listen(NOTHING);
  }
}

const NOTHING = new Int32Array();
