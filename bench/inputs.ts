// Inputs from a seed: the same numbers for every contender in JavaScript.
import type { Mixer } from './problem';

/** Larger arrays repeat after so many numbers, which cards would wait for. */
const DISTINCT = 2 ** 24;

function repeated(count: number, make: (count: number) => Float32Array): Float32Array {
  const part = make(Math.min(count, DISTINCT));
  if (count <= DISTINCT) return part;
  const out = new Float32Array(count);
  for (let at = 0; at < count; at += DISTINCT) out.set(part.subarray(0, count - at), at);
  return out;
}

/** Uniform numbers in [low, high). */
export function uniform(count: number, low: number, high: number, seed: number): Float32Array {
  return repeated(count, (distinct) => draw(distinct, low, high, seed));
}

/** The generator mulberry32. */
function draw(count: number, low: number, high: number, seed: number): Float32Array {
  const out = new Float32Array(count);
  let a = seed >>> 0;
  for (let i = 0; i < count; i++) {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    out[i] = low + ((high - low) * ((t ^ (t >>> 14)) >>> 0)) / 4294967296;
  }
  return out;
}

/** Rows of length 1; the width divides DISTINCT. */
function unitRows(rows: number, width: number, seed: number): Float32Array {
  return repeated(rows * width, (count) => normalized(draw(count, -1, 1, seed), width));
}

function normalized(out: Float32Array, width: number): Float32Array {
  for (let i = 0; i < out.length; i += width) {
    let sum = 0;
    for (let j = 0; j < width; j++) sum += out[i + j] ** 2;
    const scale = 1 / Math.sqrt(sum);
    for (let j = 0; j < width; j++) out[i + j] *= scale;
  }
  return out;
}

/** An operand as [tokens, H, width]. */
export interface Operand {
  data: Float32Array;
  width: number;
}

/** q, k, v, and as the mixer has them beta and gate, the log of the decay. */
export type MixerInputs = Record<string, Operand>;

/** Inputs of a mixer; `tokens` counts those of all sequences. */
export function mixerInputs({ delta, gate }: Mixer, tokens: number, H: number, D: number): MixerInputs {
  const rows = tokens * H;
  const inputs: MixerInputs = {
    q: { data: unitRows(rows, D, 1), width: D },
    k: { data: unitRows(rows, D, 2), width: D },
    v: { data: uniform(rows * D, -1, 1, 3), width: D },
  };
  const width = gate === 'vector' ? D : 1;
  if (gate !== 'none') inputs.gate = { data: uniform(rows * width, -0.1, 0, 4), width };
  if (delta) inputs.beta = { data: uniform(rows, 0.05, 0.95, 5), width: 1 };
  return inputs;
}

/** Head `head` of tokens [from, from + count) of an array [tokens, H, width]. */
export function headOf({ data, width }: Operand, H: number, head: number, from: number, count: number): Float32Array {
  const out = new Float32Array(count * width);
  for (let t = 0; t < count; t++) {
    const at = ((from + t) * H + head) * width;
    out.set(data.subarray(at, at + width), t * width);
  }
  return out;
}
