// From logits to a token: greedy, temperature, top-k, top-p.
import {
  argumentError,
  checkInteger,
  checkNumber,
  checkNumbers,
  checkOptions,
  FastWeightsError,
  type HostRandom,
  type OptionNames,
} from '../core';

/** How a token is drawn from its logits: temperature, then top-k, then top-p. */
export interface SamplingOptions {
  /** 0 (the default) always takes the most probable token. */
  temperature?: number;
  /** Only the k most probable tokens; all by default. */
  topK?: number;
  /** Then only the smallest set of them whose probabilities add up to this share, in (0, 1]; 1 by default. */
  topP?: number;
}

export const SAMPLING: OptionNames<SamplingOptions> = { temperature: true, topK: true, topP: true };

/** A token that was drawn, with the model's own opinion of it. */
export interface SampledToken {
  /** The token, below the size of the vocabulary. */
  id: number;
  /** Natural logarithm of the model's own probability of the token, before temperature, top-k and top-p. */
  logProbability: number;
}

export function checkSampling(where: string, { temperature = 0, topK, topP = 1 }: SamplingOptions): void {
  checkNumber(where, 'temperature', temperature, 0);
  if (topK !== undefined) checkInteger(where, 'topK', topK, 1);
  if (checkNumber(where, 'topP', topP, 0, 1) === 0) {
    throw argumentError('INVALID_ARGUMENT', where, 'topP', 'above 0', '0');
  }
}

/** Chooses a token by its logits [vocabulary]; equal logits go to the smaller id. */
export function sampleToken(logits: ArrayLike<number>, options: SamplingOptions, random: HostRandom): SampledToken {
  checkNumbers('sampleToken', 'logits', logits);
  checkOptions('sampleToken', options, SAMPLING);
  checkSampling('sampleToken', options);
  return chooseToken(logits, options, random);
}

/** The same for options that have been checked. */
export function chooseToken(logits: ArrayLike<number>, options: SamplingOptions, random: HostRandom): SampledToken {
  const best = argmax(logits);
  const { temperature = 0 } = options;
  const id = temperature === 0 ? best : draw(candidates(logits, best, temperature, options), random);
  let total = 0;
  for (let i = 0; i < logits.length; i++) total += Math.exp(logits[i] - logits[best]);
  return { id, logProbability: logits[id] - logits[best] - Math.log(total) };
}

function argmax(logits: ArrayLike<number>): number {
  let best = 0;
  for (let i = 0; i < logits.length; i++) {
    if (Number.isNaN(logits[i])) throw new FastWeightsError('INVALID_ARGUMENT', 'generate: the logits hold NaN');
    if (logits[i] > logits[best]) best = i;
  }
  if (!Number.isFinite(logits[best])) {
    throw new FastWeightsError('INVALID_ARGUMENT', `generate: the largest logit is ${logits[best]}`);
  }
  return best;
}

/** Tokens that may be drawn, with weights in proportion to their probabilities. */
interface Candidates {
  ids: ArrayLike<number>;
  weights: Float64Array;
}

function candidates(
  logits: ArrayLike<number>,
  best: number,
  temperature: number,
  { topK, topP = 1 }: SamplingOptions,
): Candidates {
  const weights = Float64Array.from(logits, (x) => Math.exp((x - logits[best]) / temperature));
  const ids = Int32Array.from(weights.keys());
  const limited = topK !== undefined && topK < weights.length;
  if (!limited && topP === 1) return { ids, weights };
  const least = limited ? weights.slice().sort()[weights.length - topK] : 0;
  // Tokens below this weight add up to less than the share that top-p leaves out: only the others need sorting.
  const floor = limited ? 0 : ((1 - topP) * sum(weights)) / weights.length;
  const kept = ids.filter((i) => weights[i] >= least && weights[i] >= floor);
  kept.sort((a, b) => weights[b] - weights[a] || a - b);
  const first = limited ? kept.subarray(0, topK) : kept;
  const share = topP * (limited ? sum(first, weights) : sum(weights));
  let count = 0;
  for (let covered = 0; count < first.length && (covered < share || count === 0); count++) {
    covered += weights[first[count]];
  }
  const chosen = first.subarray(0, count);
  return { ids: chosen, weights: Float64Array.from(chosen, (i) => weights[i]) };
}

function sum(items: ArrayLike<number>, weights?: Float64Array): number {
  let total = 0;
  for (let i = 0; i < items.length; i++) total += weights ? weights[items[i]] : items[i];
  return total;
}

function draw({ ids, weights }: Candidates, random: HostRandom): number {
  let left = random.next() * sum(weights);
  let chosen = 0;
  for (let i = 0; i < weights.length; i++) {
    if (weights[i] === 0) continue;
    chosen = i;
    left -= weights[i];
    if (left < 0) break;
  }
  return ids[chosen];
}
