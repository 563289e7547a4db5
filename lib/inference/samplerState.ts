// What the next draw of a generation depends on beside its options and the model.

/** Plain data, which snapshots share. */
export interface SamplerState {
  /** Of the random numbers. */
  readonly seed: number;
  readonly stream: number;
  /** How many were drawn: at most one for each token that was generated. */
  readonly position: number;
  /** The prompt of the call and what was generated since, 4 bytes each; nobody changes them. */
  readonly ids: Int32Array;
  /** How many of the ids are the prompt. */
  readonly prompt: number;
}

/** A list that is copied only when it outgrows its memory; what was there before stays as it is. */
export class GrowingIds {
  private used: number;

  constructor(private ids: Int32Array) {
    this.used = ids.length;
  }

  /** A view. */
  get all(): Int32Array {
    return this.ids.subarray(0, this.used);
  }

  add(id: number): void {
    if (this.used === this.ids.length) {
      const larger = new Int32Array(Math.max(64, 2 * this.used));
      larger.set(this.ids);
      this.ids = larger;
    }
    this.ids[this.used++] = id;
  }
}
