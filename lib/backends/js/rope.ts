// Rotary position embedding.
import type { KernelArguments } from '../table';
import { floats, ints } from './view';

export function rope(args: KernelArguments<'rope'>): void {
  const { tokens, heads, width, pairs, interleaved, inverse } = args;
  const x = floats(args.x);
  const y = floats(args.y);
  const positions = ints(args.positions);
  const frequencies = floats(args.frequencies);
  const partner = interleaved ? 1 : pairs;
  for (let t = 0; t < tokens; t++) {
    for (let p = 0; p < pairs; p++) {
      const angle = positions[t] * frequencies[p];
      const cos = Math.cos(angle);
      const sin = inverse ? -Math.sin(angle) : Math.sin(angle);
      for (let h = 0; h < heads; h++) {
        const at = (t * heads + h) * width + (interleaved ? 2 * p : p);
        const a = x[at];
        const b = x[at + partner];
        y[at] = a * cos - b * sin;
        y[at + partner] = b * cos + a * sin;
      }
    }
    for (let h = 0; h < heads; h++) {
      const at = (t * heads + h) * width;
      for (let i = 2 * pairs; i < width; i++) y[at + i] = x[at + i];
    }
  }
}
