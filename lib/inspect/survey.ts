// All heads at a glance: how many of the last tokens each of them still holds.
import { Pace } from '../platform';
import type { MemoryCall } from '../rules';
import { headsOf, inputsOf, joinInputs, type MemoryInputs } from './memory';
import { fatesOf } from './retention';

/** Where heads are channels there are thousands, and no picture of them. */
const MOST_HEADS = 64;
/** Numbers that are kept of all heads together, 8 bytes each; a model with more has no survey. */
const MOST_NUMBERS = 2 ** 23;
/** Products; beyond them every second write is followed, or every third, ... */
const MOST_WORK = 2 ** 29;

/** Follows the heads of a model while it reads. */
export class Survey {
  /** By place, head and slice; places that are left out are empty. */
  private places: MemoryInputs[][][] = [];
  private room = MOST_NUMBERS;

  /** What a place is given in a slice; places come in the same order in all slices. */
  add(place: number, call: MemoryCall): void {
    if (this.room < 0) return;
    const heads = headsOf(call);
    const slices = (this.places[place] ??= Array.from({ length: heads > MOST_HEADS ? 0 : heads }, () => []));
    for (const [head, own] of slices.entries()) {
      const inputs = inputsOf(call, head);
      // What is read does not matter here.
      own.push({ ...inputs, q: inputs.k, denominator: null });
      this.room -= inputs.steps * (2 * inputs.keyDim + inputs.valueDim);
    }
    if (this.room < 0) this.places = [];
  }

  /**
   * By place and head: the sum over all writes of what is left of each at the end, in tokens; null for places that are left out. Of
   * a long text of many heads some writes stand for those beside them.
   */
  async holds(places: number, tokens: number, atRest: () => void): Promise<(Float64Array | null)[]> {
    const pace = new Pace();
    const all = this.places.map((heads) => heads.map(joinInputs));
    const work = all.flat().reduce((sum, { steps, keyDim }) => sum + 2 * steps * steps * keyDim, 0);
    const every = Math.max(1, Math.ceil(work / MOST_WORK));
    const found: (Float64Array | null)[] = [];
    for (let place = 0; place < places; place++) {
      const heads = all[place] ?? [];
      const sums = new Float64Array(heads.length);
      for (const [head, memory] of heads.entries()) {
        for (const { kept } of fatesOf(memory, every)) {
          const left = kept.at(-1)!;
          if (left > 0) sums[head] += (Math.min(1, left) * every * tokens) / memory.steps;
          await pace.rest();
          atRest();
        }
      }
      found.push(heads.length === 0 ? null : sums);
    }
    return found;
  }
}
