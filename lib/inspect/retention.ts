// What became of each write: how much of it its own key still reads, and which later writes took what is gone.
import { entryOf, type MemoryInputs, rowOf, type Rows } from './memory';

/** What became of one write, j. */
export interface Fate {
  /**
   * After the write and after each later step [T - j]: how much its key reads of what it wrote, as a share of what the key read at
   * once, which is 1. What others write under the same key does not count. NaN where nothing was written that the key reads.
   */
  kept: Float64Array;
  /**
   * At the same steps [T - j], how much of that share the erasure of the step took; 0 at first, below 0 where it gave back. What
   * else is gone has faded by decays.
   */
  taken: Float64Array;
}

/**
 * The fate of one write after another, or of every second one, ... A recurrence is linear in what is written: the outer product of write j goes on by
 * itself through the later steps, decays, and loses its part along what they erase. Oja's rule, which decays and erases on the other
 * side, is followed on that side.
 */
export function* fatesOf(memory: MemoryInputs, every = 1): Generator<Fate> {
  const { steps, kind, beta } = memory;
  const { exchanged = false, eraseFrom } = kind;
  const erases = eraseFrom === 'decayed' || eraseFrom === 'undecayed';
  const along = exchanged ? memory.v : memory.k;
  const across = exchanged ? memory.k : memory.v;
  const eraseKeys = (!exchanged && memory.eraseKey) || along;
  const writeKeys = (!exchanged && memory.writeKey) || along;
  const decay = factors(exchanged ? memory.valueGate : memory.gate);
  // Where strengths differ along the other side, what was written there goes different ways.
  const copies = erases && beta ? beta.width : 1;
  for (let j = 0; j < steps; j += every) {
    const key = rowOf(along, j);
    const column = kind.secondWrite ? key : rowOf(writeKeys, j);
    const parts = partsOf(memory, across, j);
    const own = Array.from({ length: copies }, () => Float64Array.from(column));
    const share = (of: Float64Array): number =>
      parts.reduce((sum, part, m) => sum + part * of[copies === 1 ? 0 : m], 0);
    const first = share(new Float64Array(copies).fill(dot(key, column)));
    const kept = new Float64Array(steps - j);
    const taken = new Float64Array(steps - j);
    // NaN where nothing was written.
    kept[0] = first / first;
    for (let s = j + 1; s < steps; s++) {
      const strength = beta && rowOf(beta, s);
      const [d, e, w] = [decay && rowOf(decay, s), rowOf(eraseKeys, s), rowOf(writeKeys, s)];
      const onKey = erases ? dot(key, w) : 0;
      const [reads, losses] = [new Float64Array(copies), new Float64Array(copies)];
      for (const [c, x] of own.entries()) {
        const before = eraseFrom === 'undecayed' ? dot(e, x) : 0;
        if (d) for (let i = 0; i < x.length; i++) x[i] *= entryOf(d, i, 1);
        if (erases) {
          const loss = entryOf(strength, c, 1) * (eraseFrom === 'undecayed' ? before : dot(e, x));
          for (let i = 0; i < x.length; i++) x[i] -= loss * w[i];
          losses[c] = loss * onKey;
        }
        reads[c] = dot(key, x);
      }
      kept[s - j] = share(reads) / first;
      taken[s - j] = share(losses) / first;
    }
    yield { kept, taken };
  }
}

/**
 * By how much each entry of the other side counts in what write j left: what was written there times what it is compared with,
 * the value as it was first read (for Oja's rule the key that reads).
 */
function partsOf({ kind, beta }: MemoryInputs, across: Rows, j: number): Float64Array {
  const strength = beta && !kind.secondWrite ? rowOf(beta, j) : null;
  return rowOf(across, j).map((x, m) => {
    const b = entryOf(strength, m, 1);
    return (kind.exchanged ? b : b * b) * x * x;
  });
}

/** From logarithms. */
function factors(gate: Rows | null): Rows | null {
  return gate && { width: gate.width, data: gate.data.map(Math.exp) };
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}
