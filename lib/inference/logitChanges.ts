// What changes logits before a token is chosen: bias, penalties for what was said, functions of the user's.
import { refusePromise } from '../core';
import type { LogitProcessor, SamplingOptions } from './sampling';

/** One option's change of a row of logits, in place. */
interface Change {
  readonly option: string;
  change(row: Float32Array): void;
}

export class LogitChanges {
  private readonly row: Float32Array;
  /** In their order, all that come before the processors. */
  private readonly changes: readonly Change[];
  /** Of the prompt and of what was generated. */
  private readonly said: Occurrences | null = null;
  private readonly generated: Occurrences | null = null;
  private readonly processors: readonly LogitProcessor[];

  private constructor(
    private readonly where: string,
    options: SamplingOptions,
    vocabSize: number,
    prompt: Int32Array,
  ) {
    const { repetitionPenalty = 1, presencePenalty = 0, frequencyPenalty = 0, logitBias = {} } = options;
    this.row = new Float32Array(vocabSize);
    this.processors = options.logitProcessors ?? [];
    const changes: Change[] = [];
    const bias = Object.entries(logitBias).map(([id, added]) => [Number(id), added] as const);
    if (bias.length > 0) {
      changes.push({
        option: 'logitBias',
        change(row) {
          for (const [id, added] of bias) row[id] += added;
        },
      });
    }
    if (repetitionPenalty !== 1) {
      const said = (this.said = new Occurrences(vocabSize));
      for (const id of prompt) said.add(id);
      changes.push({
        option: 'repetitionPenalty',
        change(row) {
          for (const id of said.distinct) {
            row[id] = row[id] > 0 ? row[id] / repetitionPenalty : row[id] * repetitionPenalty;
          }
        },
      });
    }
    if (presencePenalty !== 0 || frequencyPenalty !== 0) {
      const generated = (this.generated = new Occurrences(vocabSize));
      changes.push({
        option: frequencyPenalty === 0 ? 'presencePenalty' : 'frequencyPenalty',
        change(row) {
          for (const id of generated.distinct) row[id] -= presencePenalty + frequencyPenalty * generated.counts[id];
        },
      });
    }
    this.changes = changes;
  }

  /** null for options that change nothing. */
  static of(where: string, options: SamplingOptions, vocabSize: number, prompt: Int32Array): LogitChanges | null {
    const changes = new LogitChanges(where, options, vocabSize, prompt);
    return changes.changes.length > 0 || changes.processors.length > 0 ? changes : null;
  }

  /** The changed logits, which are good until the next call; `ids` are what processors see. */
  apply(logits: ArrayLike<number>, ids: Int32Array): Float32Array {
    const { row } = this;
    row.set(logits);
    for (const { change } of this.changes) change(row);
    // A copy: snapshots and other samples share the ids, and processors may write into what they see.
    for (const process of this.processors) refusePromise<unknown>(this.where, process(row, ids.slice()));
    return row;
  }

  /** What first gave the last row the fault that it has in the end, by name. That row is lost. */
  culprit(logits: ArrayLike<number>, fault: LogitFault): string {
    const { row } = this;
    row.set(logits);
    if (faultOf(row) === fault) return 'rounding to float32';
    for (const { option, change } of this.changes) {
      change(row);
      if (faultOf(row) === fault) return option;
    }
    return 'logitProcessors';
  }

  /** Counts a token that was generated. */
  take(id: number): void {
    this.said?.add(id);
    this.generated?.add(id);
  }
}

/** What makes a choice impossible: a logit that is NaN, else the largest one, where it is not finite. */
export type LogitFault = 'NaN' | 'Infinity' | '-Infinity';

/** The fault of logits, or null for those that a token can be chosen by. */
export function faultOf(logits: ArrayLike<number>): LogitFault | null {
  let most = -Infinity;
  for (let i = 0; i < logits.length; i++) {
    const x = logits[i];
    if (x !== x) return 'NaN';
    if (x > most) most = x;
  }
  if (Number.isFinite(most)) return null;
  return most > 0 ? 'Infinity' : '-Infinity';
}

/** How often each token came. */
class Occurrences {
  readonly counts: Int32Array;
  readonly distinct: number[] = [];

  constructor(vocabSize: number) {
    this.counts = new Int32Array(vocabSize);
  }

  add(id: number): void {
    if (this.counts[id]++ === 0) this.distinct.push(id);
  }
}
