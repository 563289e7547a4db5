// What reads by index: embeddings and cross entropy, also with indices that are none.
import * as fw from '../../../lib';
import type { Builder } from '../builder';
import type { Random } from '../random';
import { describe } from './rows';

const OUTSIDE = [-1, -2, 1_000_000_000, 2 ** 31 - 1, -(2 ** 31)];

export function embedding(b: Builder): void {
  const { random } = b;
  const bad = random.chance(0.25) && b.allows('badIndex');
  const vocabulary = random.int(1, 40);
  const weight = b.operand([vocabulary, b.size()]);
  const shape = b.shape(0, 2, 200);
  if (bad && shape.includes(0)) return;
  const ids = indices(b, shape, vocabulary, bad, (r) => r.int(0, vocabulary - 1));
  b.emit('index', `embedding(t${weight}, t${ids})`, [weight, ids], ([w, i]) => [fw.embedding(w, i)], { refused: bad });
}

/** int32 of a shape; bad ones have one element that is no index. */
function indices(b: Builder, shape: number[], count: number, bad: boolean, draw: (r: Random) => number): number {
  if (!bad) return b.leaf(shape, { integer: true, draw });
  const at = b.random.int(0, shape.reduce((x, y) => x * y, 1) - 1);
  const wrong = b.random.pick([...OUTSIDE, count]);
  let i = 0;
  return b.leaf(shape, { integer: true, packed: true, draw: (r) => (i++ === at ? wrong : draw(r)) });
}

export function crossEntropy(b: Builder): void {
  const { random } = b;
  const bad = random.chance(0.25) && b.allows('badIndex');
  const shape = b.shape(0, 2, 60);
  if (bad && shape.includes(0)) return;
  const classes = random.int(1, 70);
  const logits = b.operand([...shape, classes], { draw: (r) => 2 * r.normal() });
  const target = indices(b, shape, classes, bad, (r) => (r.chance(0.2) ? -100 : r.int(0, classes - 1)));
  const options = {
    labelSmoothing: random.pick([0, 0, 0.1]),
    zLoss: random.pick([0, 0, 1e-3]),
    logitSoftcap: random.pick([null, null, 5]),
    reduction: random.pick(['mean', 'sum', 'none'] as const),
  };
  const text = `crossEntropy(t${logits}, t${target}, ${describe(options)})`;
  b.emit('loss', text, [logits, target], ([z, y], cx) => [fw.crossEntropy(z, y, options).to(cx.dtype)], {
    refused: bad,
  });
}
