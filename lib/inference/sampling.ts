// How a token is drawn from its logits: the options, checked in one place, and one draw by hand.
import {
  argumentError,
  checkFunction,
  checkInteger,
  checkList,
  checkNumber,
  checkNumbers,
  checkNumeric,
  checkObject,
  checkOptions,
  describe,
  type OptionNames,
} from '../core';
import { Sampler } from './sampler';

/**
 * Changes the logits [vocabulary] of the next token in place; -Infinity forbids a token. `ids` are the prompt of the call
 * and what was generated since, a view that is good for the time of this call.
 */
export type LogitProcessor = (logits: Float32Array, ids: Int32Array) => void;

/**
 * How a token is drawn from its logits. In this order: `logitBias`, `repetitionPenalty`, `presencePenalty` and
 * `frequencyPenalty`, `logitProcessors` change the logits; without a temperature the largest is taken; else they are
 * divided by `temperature`, and `topK`, `topP`, `minP`, `typicalP` each leave out tokens of those that are left. Nothing
 * but the call's own prompt and the tokens that it generated counts for penalties, whatever a session read before.
 */
export interface SamplingOptions {
  /** 0 (the default) always takes the most probable token. */
  temperature?: number;
  /** Only the k most probable tokens; all by default. */
  topK?: number;
  /** Then only the smallest set of them whose probabilities add up to this share, in (0, 1]; 1 by default. */
  topP?: number;
  /** Then only those at least so probable as this share of the most probable one, in [0, 1]; 0 by default. */
  minP?: number;
  /**
   * Then only the smallest set of them whose probabilities add up to this share, in (0, 1], those first whose
   * information -log p is nearest to its mean (Meister et al. 2022, locally typical sampling); 1 by default.
   */
  typicalP?: number;
  /**
   * Divides positive and multiplies negative logits of tokens in the prompt or among those generated (Keskar et al. 2019,
   * as transformers does); above 0, 1 by default.
   */
  repetitionPenalty?: number;
  /** Subtracted from the logits of tokens that were generated; the prompt does not count. Any finite number, 0 by default. */
  presencePenalty?: number;
  /** Subtracted for each time that a token was generated; the prompt does not count. Any finite number, 0 by default. */
  frequencyPenalty?: number;
  /** Added to the logits of these token ids, `{ 11: -5 }`; -Infinity forbids a token. */
  logitBias?: Readonly<Record<number, number>>;
  /** Functions that change the logits, one after the other; they have the last word before the temperature. */
  logitProcessors?: readonly LogitProcessor[];
  /** With each token the so many most probable ones; none by default. */
  topLogprobs?: number;
}

export const SAMPLING: OptionNames<SamplingOptions> = {
  temperature: true,
  topK: true,
  topP: true,
  minP: true,
  typicalP: true,
  repetitionPenalty: true,
  presencePenalty: true,
  frequencyPenalty: true,
  logitBias: true,
  logitProcessors: true,
  topLogprobs: true,
};

/** A token, and how probable the model holds it. */
export interface TokenProbability {
  /** The token, below the size of the vocabulary. */
  id: number;
  /** Natural logarithm of the model's own probability of the token, before anything that `SamplingOptions` change. */
  logProbability: number;
}

/** A token that was drawn, with the model's own opinion of it. */
export interface SampledToken extends TokenProbability {
  /** The `topLogprobs` most probable tokens, the most probable first; not there unless asked for. */
  topLogprobs?: TokenProbability[];
}

/** What a single draw counts for penalties, and shows to processors; nothing by default. */
export interface SampledContext {
  /** Ids that were given to the model. */
  prompt?: ArrayLike<number>;
  /** Ids that it generated since. */
  generated?: ArrayLike<number>;
}

const CONTEXT: OptionNames<SampledContext> = { prompt: true, generated: true };

export function checkSampling(where: string, options: SamplingOptions, vocabSize: number): void {
  const { temperature = 0, topK, topP = 1, minP = 0, typicalP = 1, repetitionPenalty = 1, topLogprobs = 0 } = options;
  checkNumber(where, 'temperature', temperature, 0);
  if (topK !== undefined) checkInteger(where, 'topK', topK, 1);
  checkPositive(where, 'topP', checkNumber(where, 'topP', topP, 0, 1));
  checkNumber(where, 'minP', minP, 0, 1);
  checkPositive(where, 'typicalP', checkNumber(where, 'typicalP', typicalP, 0, 1));
  checkPositive(where, 'repetitionPenalty', checkNumber(where, 'repetitionPenalty', repetitionPenalty, 0));
  checkNumber(where, 'presencePenalty', options.presencePenalty ?? 0);
  checkNumber(where, 'frequencyPenalty', options.frequencyPenalty ?? 0);
  checkInteger(where, 'topLogprobs', topLogprobs, 0, vocabSize);
  if (options.logitBias !== undefined) checkBias(where, options.logitBias, vocabSize);
  const { logitProcessors = [] } = options;
  checkList(where, 'logitProcessors', logitProcessors, 'a list of functions');
  logitProcessors.forEach((processor, i) => checkFunction(where, `logitProcessors[${i}]`, processor));
}

function checkPositive(where: string, argument: string, value: number): void {
  if (value === 0) throw argumentError('INVALID_ARGUMENT', where, argument, 'above 0', '0');
}

function checkBias(where: string, bias: Readonly<Record<number, number>>, vocabSize: number): void {
  checkObject(where, 'logitBias', bias);
  for (const [key, value] of Object.entries(bias)) {
    if (!/^(0|[1-9]\d*)$/.test(key) || Number(key) >= vocabSize) {
      const expected = `by token id, a whole number from 0 to ${vocabSize - 1}`;
      throw argumentError('INVALID_ARGUMENT', where, 'logitBias', expected, describe(key));
    }
    if (value !== -Infinity) checkNumber(where, `logitBias[${key}]`, value);
  }
}

/** What is not given is as in `defaults`; lists and tables are copied. */
export function withDefaults(options: SamplingOptions, defaults: SamplingOptions): SamplingOptions {
  const { logitBias = defaults.logitBias, logitProcessors = defaults.logitProcessors } = options;
  return {
    temperature: options.temperature ?? defaults.temperature,
    topK: options.topK ?? defaults.topK,
    topP: options.topP ?? defaults.topP,
    minP: options.minP ?? defaults.minP,
    typicalP: options.typicalP ?? defaults.typicalP,
    repetitionPenalty: options.repetitionPenalty ?? defaults.repetitionPenalty,
    presencePenalty: options.presencePenalty ?? defaults.presencePenalty,
    frequencyPenalty: options.frequencyPenalty ?? defaults.frequencyPenalty,
    logitBias: logitBias && { ...logitBias },
    logitProcessors: logitProcessors && [...logitProcessors],
    topLogprobs: options.topLogprobs ?? defaults.topLogprobs,
  };
}

function checkLogits(where: string, logits: ArrayLike<number>): void {
  checkNumbers(where, 'logits', logits);
  if (logits.length === 0) throw argumentError('INVALID_ARGUMENT', where, 'logits', 'of at least one token', 'none');
  for (let i = 0; i < logits.length; i++) checkNumeric(where, `logits[${i}]`, logits[i]);
}

const UNIFORM = 'a function that returns numbers in [0, 1)';

function checkUniform(where: string, drawn: unknown): number {
  if (typeof drawn === 'number' && drawn >= 0 && drawn < 1) return drawn;
  throw argumentError('INVALID_ARGUMENT', where, 'random', UNIFORM, describe(drawn));
}

/**
 * Chooses a token by its logits [vocabulary]; equal logits go to the smaller id. Penalties count the ids of `context`
 * anew with each call; `generate` counts as it goes. With a temperature `random` is called once, for a number in [0, 1) as
 * `Math.random` gives them.
 */
export function sampleToken(
  logits: ArrayLike<number>,
  options: SamplingOptions,
  random: () => number,
  context: SampledContext = {},
): SampledToken {
  const where = 'sampleToken';
  checkLogits(where, logits);
  checkOptions(where, options, SAMPLING);
  checkSampling(where, options, logits.length);
  checkFunction(where, 'random', random, UNIFORM);
  checkOptions(where, context, CONTEXT);
  const { prompt = [], generated = [] } = context;
  for (const [name, ids] of Object.entries({ prompt, generated })) {
    checkNumbers(where, name, ids);
    for (let i = 0; i < ids.length; i++) checkInteger(where, `${name}[${i}]`, ids[i], 0, logits.length - 1);
  }
  const sampler = new Sampler(
    where,
    options,
    logits.length,
    () => checkUniform(where, random()),
    Int32Array.from(prompt),
  );
  for (let i = 0; i < generated.length; i++) sampler.take(generated[i]);
  return sampler.choose(logits);
}
