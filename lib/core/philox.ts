// Philox4x32-10 (Salmon et al. 2011): random bits as a pure function of a key and a counter, so that every device
// and every process draws the same stream and a run can resume from two numbers.

const M0 = 0xd2511f53;
const M1 = 0xcd9e8d57;
const W0 = 0x9e3779b9;
const W1 = 0xbb67ae85;

/** High 32 bits of the product of two unsigned 32-bit numbers. */
function mulHigh(a: number, b: number): number {
  const aHigh = a >>> 16;
  const aLow = a & 0xffff;
  const bHigh = b >>> 16;
  const bLow = b & 0xffff;
  const cross = aHigh * bLow + ((aLow * bLow) >>> 16);
  const middle = (cross & 0xffff) + aLow * bHigh;
  return (aHigh * bHigh + Math.floor(cross / 65536) + Math.floor(middle / 65536)) >>> 0;
}

/**
 * Writes the four words of one block to `out`. Key = (seedLow, seedHigh); counter = (block low, block high, stream low,
 * stream high) for block and stream below 2^53.
 */
export function philox(out: Uint32Array, seedLow: number, seedHigh: number, block: number, stream: number): void {
  let c0 = block >>> 0;
  let c1 = Math.floor(block / 4294967296) >>> 0;
  let c2 = stream >>> 0;
  let c3 = Math.floor(stream / 4294967296) >>> 0;
  let k0 = seedLow >>> 0;
  let k1 = seedHigh >>> 0;
  for (let round = 0; round < 10; round++) {
    const high0 = mulHigh(M0, c0);
    const low0 = Math.imul(M0, c0) >>> 0;
    const high1 = mulHigh(M1, c2);
    const low1 = Math.imul(M1, c2) >>> 0;
    c0 = (high1 ^ c1 ^ k0) >>> 0;
    c1 = low1;
    c2 = (high0 ^ c3 ^ k1) >>> 0;
    c3 = low0;
    k0 = (k0 + W0) >>> 0;
    k1 = (k1 + W1) >>> 0;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

/** The uniform in [0, 1) of one word: its upper 24 bits, exact in float32. */
export function uniformOf(word: number): number {
  return (word >>> 8) * 5.9604644775390625e-8;
}

/** Splits a seed below 2^53 into the two key words. */
export function seedWords(seed: number): { seedLow: number; seedHigh: number } {
  return { seedLow: seed >>> 0, seedHigh: Math.floor(seed / 4294967296) >>> 0 };
}

/** A sequential reader of one stream, for data sets and sampling on the host; resumable from `position`. */
export class HostRandom {
  private readonly words = new Uint32Array(4);
  private loaded = -1;

  constructor(
    readonly seed: number,
    readonly stream = 0,
    /** Words drawn so far. */
    public position = 0,
  ) {}

  /** A uniform number in [0, 1). */
  next(): number {
    const block = Math.floor(this.position / 4);
    if (block !== this.loaded) {
      const { seedLow, seedHigh } = seedWords(this.seed);
      philox(this.words, seedLow, seedHigh, block, this.stream);
      this.loaded = block;
    }
    return uniformOf(this.words[this.position++ % 4]);
  }

  /** A whole number in [0, n). */
  below(n: number): number {
    return Math.floor(this.next() * n);
  }

  /** Shuffles in place (Fisher-Yates) and returns the array. */
  shuffle<T>(items: T[]): T[] {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [items[i], items[j]] = [items[j], items[i]];
    }
    return items;
  }
}
