// Rows of a table by index, and their gradient.
import type { KernelArguments } from '../table';
import { checkIndices } from './indices';
import { floats, ints } from './view';

export function embedding({ weight, indices, y, rows, d, vocabulary }: KernelArguments<'embedding'>): void {
  const table = floats(weight);
  const index = ints(indices);
  checkIndices('embedding', 'indices', index, rows, vocabulary);
  const target = floats(y);
  for (let r = 0; r < rows; r++) {
    for (let i = 0; i < d; i++) target[r * d + i] = table[index[r] * d + i];
  }
}

export function embeddingBackward(args: KernelArguments<'embeddingBackward'>): void {
  const { rows, d, vocabulary } = args;
  const index = ints(args.indices);
  checkIndices('embedding', 'indices', index, rows, vocabulary);
  const dy = floats(args.dy);
  const dweight = floats(args.dweight).fill(0, 0, vocabulary * d);
  for (let r = 0; r < rows; r++) {
    for (let i = 0; i < d; i++) dweight[index[r] * d + i] += dy[r * d + i];
  }
}
