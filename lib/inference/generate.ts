// Generation: prompt in slices, then token by token, awaiting the device once for each.
import {
  argumentError,
  checkInteger,
  checkOptions,
  describe,
  FastWeightsError,
  generatorState,
  HostRandom,
  nextStream,
  type OptionNames,
  type Tensor,
} from '../core';
import { checkSampling, chooseToken, type SampledToken, SAMPLING, type SamplingOptions } from './sampling';

export interface GenerateOptions extends SamplingOptions {
  /** 256 by default. */
  maxNewTokens?: number;
  /** Makes the drawn tokens repeatable; without it they come from the generator of `manualSeed`. */
  seed?: number;
  /** Tokens that end the text; they are yielded, too. By default those of the model's configuration. */
  stopTokens?: readonly number[];
  signal?: AbortSignal;
}

const OPTIONS: OptionNames<GenerateOptions> = {
  ...SAMPLING,
  maxNewTokens: true,
  seed: true,
  stopTokens: true,
  signal: true,
};

export type GeneratedToken = SampledToken;

/** What is fed: a session. */
interface Reader {
  readonly batch: number;
  readonly vocabSize: number;
  readonly stopTokens: readonly number[];
  readonly sampling?: SamplingOptions;
  feed(ids: ArrayLike<number>): Tensor;
}

/** Tokens of a prompt that are read between two looks at the signal. */
const SLICE = 512;

function checkSignal(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new FastWeightsError('ABORTED', 'generate: aborted', { cause: signal.reason });
}

function randomOf(seed: number | undefined): HostRandom {
  if (seed !== undefined) return new HostRandom(seed);
  const { stream } = nextStream();
  return new HostRandom(generatorState().seed, stream);
}

/** Requires options that generation knows, with values that a model of this vocabulary can follow. */
export function checkGenerate(options: GenerateOptions, vocabSize: number): void {
  const where = 'generate';
  checkOptions(where, options, OPTIONS);
  checkSampling(where, options);
  const { maxNewTokens, seed, stopTokens, signal } = options;
  if (maxNewTokens !== undefined) checkInteger(where, 'maxNewTokens', maxNewTokens);
  if (seed !== undefined) checkInteger(where, 'seed', seed);
  if (stopTokens !== undefined) checkStopTokens(where, stopTokens, vocabSize);
  if (signal !== undefined && typeof signal?.aborted !== 'boolean') {
    throw argumentError('INVALID_ARGUMENT', where, 'signal', 'an AbortSignal', describe(signal));
  }
}

function checkStopTokens(where: string, tokens: readonly number[], vocabSize: number): void {
  if (!Array.isArray(tokens) && !ArrayBuffer.isView(tokens)) {
    throw argumentError('INVALID_ARGUMENT', where, 'stopTokens', 'a list of token ids', describe(tokens));
  }
  Array.from(tokens as readonly number[]).forEach((id, i) => {
    checkInteger(where, `stopTokens[${i}]`, id, 0, vocabSize - 1);
  });
}

/** Continues a session of one sequence. The last token yielded has not been fed yet. */
export async function* generate(
  session: Reader,
  prompt: Int32Array,
  options: GenerateOptions,
): AsyncGenerator<GeneratedToken, void, undefined> {
  const where = 'generate';
  if (session.batch !== 1) throw argumentError('INVALID_ARGUMENT', where, 'ids', 'one sequence', `${session.batch}`);
  checkGenerate(options, session.vocabSize);
  const limit = options.maxNewTokens ?? 256;
  const stop = new Set(options.stopTokens ?? session.stopTokens);
  const own = session.sampling ?? {};
  const { temperature = own.temperature, topK = own.topK, topP = own.topP } = options;
  const sampling = { temperature, topK, topP };
  const random = randomOf(options.seed);
  const read = async (ids: ArrayLike<number>): Promise<ArrayLike<number>> => {
    checkSignal(options.signal);
    const logits = session.feed(ids);
    try {
      return await logits.data();
    } finally {
      logits.dispose();
    }
  };
  checkSignal(options.signal);
  let logits: ArrayLike<number> = [];
  for (let at = 0; at < prompt.length && limit > 0; at += SLICE) logits = await read(prompt.subarray(at, at + SLICE));
  for (let count = 1; count <= limit; count++) {
    const token = chooseToken(logits, sampling, random);
    yield token;
    if (stop.has(token.id) || count === limit) return;
    logits = await read([token.id]);
  }
}
