// One text's draws: from logits to a token, and what penalties remember from token to token.
import { FastWeightsError, HostRandom } from '../core';
import { expDown } from './exponential';
import { Filters, first } from './filters';
import { faultOf, LogitChanges, type LogitFault } from './logitChanges';
import { GrowingIds, type SamplerState } from './samplerState';
import type { SampledToken, SamplingOptions, TokenProbability } from './sampling';

export class Sampler {
  private readonly changes: LogitChanges | null;
  /** null where the most probable token is always taken. */
  private readonly filters: Filters | null;
  private readonly topLogprobs: number;
  protected readonly ids: GrowingIds;

  /** Of options that have been checked; `random` gives numbers in [0, 1), `where` names the function in errors. */
  constructor(
    private readonly where: string,
    options: SamplingOptions,
    vocabSize: number,
    private readonly random: () => number,
    prompt: Int32Array,
  ) {
    this.changes = LogitChanges.of(where, options, vocabSize, prompt);
    this.filters = options.temperature ? new Filters(options.temperature, options, vocabSize) : null;
    this.topLogprobs = options.topLogprobs ?? 0;
    this.ids = new GrowingIds(prompt);
  }

  /** The next token by logits [vocabulary], which stay as they are. */
  choose(logits: ArrayLike<number>): SampledToken {
    const best = largest(logits);
    if (best === null) throw this.refusal(logits, null);
    const row = this.changes?.apply(logits, this.ids.all) ?? logits;
    const top = row === logits ? best : largest(row);
    if (top === null) throw this.refusal(row, logits);
    const id = this.filters?.draw(row, top, this.random) ?? top;
    const logTotal = logOfSum(logits, logits[best]);
    const opinion = (one: number): TokenProbability => ({
      id: one,
      logProbability: logits[one] - logits[best] - logTotal,
    });
    if (this.topLogprobs === 0) return opinion(id);
    return { ...opinion(id), topLogprobs: likeliest(logits, this.topLogprobs).map(opinion) };
  }

  /** Counts a token that was generated. */
  take(id: number): void {
    this.changes?.take(id);
    this.ids.add(id);
  }

  /** Of a row that no token can be chosen by, which was made of other logits, or of none: then it is the model's own. */
  private refusal(row: ArrayLike<number>, source: ArrayLike<number> | null): FastWeightsError {
    const fault = faultOf(row)!;
    const cause = source && this.changes!.culprit(source, fault);
    return new FastWeightsError('INVALID_ARGUMENT', `${this.where}: ${describeFault(fault, cause)}`, {
      argument: cause ?? 'logits',
      expected: 'a finite largest logit, and none that is NaN',
      found: fault,
    });
  }
}

function describeFault(fault: LogitFault, cause: string | null): string {
  const none = fault === '-Infinity' ? ', which leaves no token' : '';
  if (fault === 'NaN') return cause ? `${cause} left NaN` : 'the logits hold NaN';
  return `the largest logit is ${fault}${none}, ${cause ? `after ${cause}` : 'before anything changes it'}`;
}

/** The place of the largest logit; null for logits with a fault. */
function largest(logits: ArrayLike<number>): number | null {
  let best = 0;
  for (let i = 0; i < logits.length; i++) {
    const x = logits[i];
    if (x > logits[best]) best = i;
    else if (x !== x) return null;
  }
  return Number.isFinite(logits[best]) ? best : null;
}

/** A sampler whose next draw can be told, and made again. */
export class SeededSampler extends Sampler {
  constructor(
    where: string,
    options: SamplingOptions,
    vocabSize: number,
    private readonly numbers: HostRandom,
    private readonly prompt: Int32Array,
  ) {
    super(where, options, vocabSize, () => numbers.next(), prompt);
  }

  /** One that goes on where another stopped. */
  static resume(where: string, options: SamplingOptions, vocabSize: number, state: SamplerState): SeededSampler {
    const numbers = new HostRandom(state.seed, state.stream, state.position);
    const sampler = new SeededSampler(where, options, vocabSize, numbers, state.ids.subarray(0, state.prompt));
    for (const id of state.ids.subarray(state.prompt)) sampler.take(id);
    return sampler;
  }

  get state(): SamplerState {
    const { seed, stream, position } = this.numbers;
    return { seed, stream, position, ids: this.ids.all, prompt: this.prompt.length };
  }
}

function logOfSum(logits: ArrayLike<number>, most: number): number {
  let total = 0;
  for (let i = 0; i < logits.length; i++) total += expDown(logits[i] - most);
  return Math.log(total);
}

/** The ids of the n largest logits, the largest first. */
function likeliest(logits: ArrayLike<number>, n: number): number[] {
  const keys = new Float64Array(logits.length);
  const ids = new Int32Array(logits.length);
  for (let i = 0; i < ids.length; i++) {
    ids[i] = i;
    keys[i] = -logits[i];
  }
  first(ids, ids.length, keys, null, n);
  return Array.from(ids.subarray(0, n)).sort((a, b) => keys[a] - keys[b] || a - b);
}
