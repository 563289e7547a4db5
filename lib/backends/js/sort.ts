// The order of the elements along one dimension of [outer, n, inner].
import type { KernelArguments } from '../table';
import { elements, ints } from './view';

export function argsort({ x, y, outer, n, inner, descending }: KernelArguments<'argsort'>): void {
  const source = elements(x);
  const target = ints(y);
  const order = new Int32Array(n);
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      const at = o * n * inner + i;
      for (let j = 0; j < n; j++) order[j] = j;
      const compare = (a: number, b: number): number => ascending(source[at + a * inner], source[at + b * inner]);
      order.sort(descending ? (a, b) => compare(b, a) || a - b : (a, b) => compare(a, b) || a - b);
      for (let j = 0; j < n; j++) target[at + j * inner] = order[j];
    }
  }
}

/** A NaN is the largest. */
function ascending(a: number, b: number): number {
  if (a < b) return -1;
  if (a > b) return 1;
  return Number(Number.isNaN(a)) - Number(Number.isNaN(b));
}
