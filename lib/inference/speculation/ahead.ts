// What a model has read of guesses: a state that becomes that of the text when all of them have come true.
import type { Device, DType, TypedArray } from '../../core';
import type { Read } from '../model';
import { disposeState, persistState, type State } from '../state';

/** Logits of one text [vocabulary] on the host, and where and as what they were computed. */
export interface HostLogits {
  readonly values: TypedArray;
  readonly dtype: DType;
  readonly device: Device;
}

export class Ahead {
  /** Guesses that have come true. */
  private true = 0;

  private constructor(
    /** After all of the guesses. */
    readonly state: State,
    private readonly guesses: Int32Array,
    /** After the last token before the guesses, and after each of them. */
    private readonly rows: readonly HostLogits[],
  ) {}

  /** Takes over what was read: logits [1, guesses + 1, vocabulary]. */
  static async of({ state, logits }: Read, guesses: Int32Array): Promise<Ahead> {
    persistState([state, logits]);
    try {
      const { dtype, device, shape } = logits;
      const values = await logits.data();
      const width = shape[2];
      const row = (i: number): TypedArray => values.subarray(i * width, (i + 1) * width);
      const rows = Array.from({ length: guesses.length + 1 }, (_, i) => ({ values: row(i), dtype, device }));
      return new Ahead(state, guesses, rows);
    } catch (error) {
      disposeState(state);
      throw error;
    } finally {
      logits.dispose();
    }
  }

  /** After the last token of the text. */
  get logits(): TypedArray {
    return this.rows[this.true].values;
  }

  /** After the last guess; a copy, which outlives the others. */
  get last(): HostLogits {
    const { values, dtype, device } = this.rows.at(-1)!;
    return { values: values.slice(), dtype, device };
  }

  /** Whether all guesses have come true. */
  get done(): boolean {
    return this.true === this.guesses.length;
  }

  /** Whether the next token of the text is the one that was guessed. */
  heard(id: number): boolean {
    if (this.guesses[this.true] !== id) return false;
    this.true++;
    return true;
  }

  dispose(): void {
    disposeState(this.state);
  }
}
