// What changes logits before a token is chosen: bias, penalties for what was said, functions of the user's.
import { refusePromise } from '../core';
import type { LogitProcessor, SamplingOptions } from './sampling';

export class LogitChanges {
  private readonly row: Float32Array;
  private readonly bias: readonly (readonly [id: number, added: number])[];
  /** Of the prompt and of what was generated. */
  private readonly said: Occurrences | null = null;
  private readonly generated: Occurrences | null = null;
  private readonly processors: readonly LogitProcessor[];

  private constructor(
    private readonly where: string,
    private readonly options: SamplingOptions,
    vocabSize: number,
    prompt: Int32Array,
  ) {
    const { repetitionPenalty = 1, presencePenalty = 0, frequencyPenalty = 0, logitBias = {} } = options;
    this.row = new Float32Array(vocabSize);
    this.bias = Object.entries(logitBias).map(([id, added]) => [Number(id), added]);
    this.processors = options.logitProcessors ?? [];
    if (repetitionPenalty !== 1) {
      this.said = new Occurrences(vocabSize);
      for (const id of prompt) this.said.add(id);
    }
    if (presencePenalty !== 0 || frequencyPenalty !== 0) this.generated = new Occurrences(vocabSize);
  }

  /** null for options that change nothing. */
  static of(where: string, options: SamplingOptions, vocabSize: number, prompt: Int32Array): LogitChanges | null {
    const changes = new LogitChanges(where, options, vocabSize, prompt);
    const { bias, said, generated, processors } = changes;
    return bias.length > 0 || said || generated || processors.length > 0 ? changes : null;
  }

  /** The changed logits, which are good until the next call; `ids` are what processors see. */
  apply(logits: ArrayLike<number>, ids: Int32Array): Float32Array {
    const { row, said, generated } = this;
    row.set(logits);
    for (const [id, added] of this.bias) row[id] += added;
    if (said) {
      const { repetitionPenalty: penalty = 1 } = this.options;
      for (const id of said.distinct) row[id] = row[id] > 0 ? row[id] / penalty : row[id] * penalty;
    }
    if (generated) {
      const { presencePenalty = 0, frequencyPenalty = 0 } = this.options;
      for (const id of generated.distinct) row[id] -= presencePenalty + frequencyPenalty * generated.counts[id];
    }
    // A copy: snapshots and other samples share the ids, and processors may write into what they see.
    for (const process of this.processors) refusePromise<unknown>(this.where, process(row, ids.slice()));
    return row;
  }

  /** Counts a token that was generated. */
  take(id: number): void {
    this.said?.add(id);
    this.generated?.add(id);
  }
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
