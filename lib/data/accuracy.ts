// Accuracy over counted labels: overall, per group of labels, and per whole sequence.
import { argumentError, checkList, checkObject } from '../core';
import { IGNORED, type Batch } from './dataset';

/** Counts behind an accuracy; `ratio` divides them. */
export interface Tally {
  /** Predictions that equal the label. */
  correct: number;
  /** Labels counted; IGNORED ones are not among them. */
  total: number;
}

/** Correct over total; NaN where nothing was counted. */
export function ratio(tally: Tally): number {
  checkObject('ratio', 'tally', tally);
  return tally.total === 0 ? NaN : tally.correct / tally.total;
}

/** Sums up predictions batch by batch. */
export class Accuracy {
  /** Single labels, whatever their group. */
  readonly labels: Tally = { correct: 0, total: 0 };
  /** Sequences with every label right (spec 3.6), of those that have a label. */
  readonly sequences: Tally = { correct: 0, total: 0 };
  /** By name of the group. */
  readonly groups: Record<string, Tally> = {};

  constructor(private readonly names: readonly string[]) {
    checkList('Accuracy', 'names', names, 'a list of names');
    for (const name of names) this.groups[name] = { correct: 0, total: 0 };
  }

  /** Adds the predicted ids [B, T] of a batch, the largest logits as a rule. */
  add(batch: Batch, predictions: ArrayLike<number>): void {
    const { batchSize, sequenceLength: T, labels } = batch;
    if (predictions.length !== labels.length) {
      throw argumentError(
        'SHAPE',
        'Accuracy.add',
        'predictions',
        `[${batchSize}, ${T}]`,
        `${predictions.length} numbers`,
      );
    }
    for (let b = 0; b < batchSize; b++) {
      let counted = 0;
      let wrong = 0;
      for (let at = b * T; at < (b + 1) * T; at++) {
        if (labels[at] === IGNORED) continue;
        const correct = Number(predictions[at] === labels[at]);
        const group = this.groups[this.names[batch.groups?.[at] ?? 0]];
        group.correct += correct;
        group.total++;
        counted++;
        wrong += 1 - correct;
      }
      this.labels.correct += counted - wrong;
      this.labels.total += counted;
      if (counted === 0) continue;
      this.sequences.total++;
      if (wrong === 0) this.sequences.correct++;
    }
  }
}
