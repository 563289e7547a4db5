// Random numbers and dropout masks: element i is word i mod 4 of Philox block floor(i / 4) of the stream.
import { philox, uniformOf } from '../../core';
import type { KernelArguments } from '../table';
import { elements, floats } from './view';

export function random({ y, n, kind, seedLow, seedHigh, stream, a, b }: KernelArguments<'random'>): void {
  const target = elements(y);
  const words = new Uint32Array(4);
  const values = new Float64Array(4);
  // With 24 bits like the uniforms, the product is exact, so that a fused multiply-add elsewhere gives the same bits.
  const width = Math.fround(b - a);
  for (let i = 0; i < n; i += 4) {
    philox(words, seedLow, seedHigh, i / 4, stream);
    if (kind === 0) for (let j = 0; j < 4; j++) values[j] = a + width * uniformOf(words[j]);
    else if (kind === 2) for (let j = 0; j < 4; j++) values[j] = a + wholePart(words[j], b - a);
    else {
      boxMuller(words, values, 0);
      boxMuller(words, values, 2);
      for (let j = 0; j < 4; j++) values[j] = a + b * values[j];
    }
    for (let j = 0; j < 4 && i + j < n; j++) target[i + j] = values[j];
  }
}

/** floor(word * range / 2^32) for a range up to 2^32, exactly: of the two halves of the word. */
function wholePart(word: number, range: number): number {
  const lower = Math.floor(((word & 0xffff) * range) / 65536);
  return Math.floor(((word >>> 16) * range + lower) / 65536);
}

/** Two normal numbers from two words; the first uniform lies in (0, 1], so that its logarithm is finite. */
function boxMuller(words: Uint32Array, values: Float64Array, at: number): void {
  const radius = Math.sqrt(-2 * Math.log(((words[at] >>> 8) + 1) * 2 ** -24));
  const angle = 2 * Math.PI * uniformOf(words[at + 1]);
  values[at] = radius * Math.cos(angle);
  values[at + 1] = radius * Math.sin(angle);
}

export function dropout({ x, y, n, p, seedLow, seedHigh, stream }: KernelArguments<'dropout'>): void {
  const source = floats(x);
  const target = floats(y);
  const words = new Uint32Array(4);
  for (let i = 0; i < n; i++) {
    if (i % 4 === 0) philox(words, seedLow, seedHigh, i / 4, stream);
    target[i] = uniformOf(words[i % 4]) >= p ? source[i] / (1 - p) : 0;
  }
}
