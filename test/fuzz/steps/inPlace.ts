// Operators in place, onto memory that they also read among them: as if the source had been copied first.
import * as fw from '../../../lib';
import type { Builder } from '../builder';
import { Fault } from '../program';
import { broadcastable } from './elementwise';

type Operator = 'add_' | 'mul_' | 'copy_';

/** Requires the same numbers, NaN for NaN. */
export function checkSame(what: string, found: fw.Tensor, expected: fw.Tensor): void {
  const [x, y] = [found.dataSync(), expected.dataSync()];
  const at = x.findIndex((value, i) => value !== y[i] && !(Number.isNaN(value) && Number.isNaN(y[i])));
  if (at >= 0) throw new Fault(`${what}: [${at}] is ${x[at]}, not ${y[at]}`);
}

/** Whether no element of the tensor stands for several positions. */
const distinct = (t: fw.Tensor): boolean => t.shape.every((d, i) => d <= 1 || t.strides[i] !== 0);

/** A tensor to change: in a recorded program most have been saved for the backward pass, which must then notice. */
function target(b: Builder): number {
  const found = b.ids((t) => t.ndim > 0 && t.dtype !== 'int32' && distinct(t) && (!b.recorded || !t.requiresGrad));
  const tame = found.filter((id) => b.magnitude(id) < 50);
  return tame.length > 0 && b.random.chance(0.8)
    ? b.random.pick(tame)
    : b.leaf(b.shape(1, 3), { distinct: true, constant: true });
}

export function inPlace(b: Builder): void {
  const { random } = b;
  const x = target(b);
  const op = random.pick(['add_', 'mul_', 'copy_', 'fill_'] as const);
  if (op === 'fill_') {
    const value = Math.fround(random.normal());
    b.emit('inPlace', `t${x}.fill_(${value})`, [x], ([t]) => changed(() => t.fill_(value)), { inPlace: true });
  } else if (op !== 'copy_' && random.chance(0.3)) {
    const value = Math.fround(random.normal());
    b.emit('inPlace', `t${x}.${op}(${value})`, [x], ([t]) => changed(() => t[op](value)), { inPlace: true });
  } else {
    const y = b.operand(broadcastable(b, b.tensor(x).shape));
    const text = `t${x}.${op}(t${y})`;
    b.emit('inPlace', text, [x, y], ([t, s]) => changed(() => t[op](s.detach())), { inPlace: true });
  }
}

function changed(run: () => unknown): fw.Tensor[] {
  fw.noGrad(run);
  return [];
}

/** Two views of one new piece of memory that overlap. */
function overlapping(b: Builder): { shape: number[]; text: string; views: (t: fw.Tensor) => [fw.Tensor, fw.Tensor] } {
  const { random } = b;
  const [n, m] = [random.int(1, 40), random.int(1, 20)];
  switch (random.int(0, 4)) {
    case 0:
      return { shape: [n, n], text: 'x, x.transpose(0, 1)', views: (t) => [t, t.transpose(0, 1)] };
    case 1: {
      const shift = random.int(1, 5);
      const [first, second] = random.shuffled([0, shift]);
      const text = `x.slice(0, ${first}, ${first + n}), x.slice(0, ${second}, ${second + n})`;
      return {
        shape: [n + shift, m],
        text,
        views: (t) => [t.slice(0, first, first + n), t.slice(0, second, second + n)],
      };
    }
    case 2: {
      const at = random.int(0, n - 1);
      return { shape: [n, m], text: `x, x.slice(0, ${at}, ${at + 1})`, views: (t) => [t, t.slice(0, at, at + 1)] };
    }
    case 3: {
      const at = random.int(0, m - 1);
      return { shape: [n, m], text: `x, x.slice(1, ${at}, ${at + 1})`, views: (t) => [t, t.slice(1, at, at + 1)] };
    }
    default:
      return {
        shape: [n, m, n],
        text: 'x.permute(2, 1, 0), x',
        views: (t) => [t.permute(2, 1, 0), t],
      };
  }
}

export function overlap(b: Builder): void {
  const { shape, text, views } = overlapping(b);
  const op = b.random.pick<Operator>(['add_', 'mul_', 'copy_']);
  const x = b.leaf(shape, { packed: true, constant: true });
  const run = ([t]: fw.Tensor[]): fw.Tensor[] =>
    fw.noGrad(() => {
      const [to, from] = views(t);
      const source = from.clone();
      const before = to.clone();
      const expected =
        op === 'copy_' ? source.expand(to.shape).clone() : op === 'add_' ? before.add(source) : before.mul(source);
      to[op](from);
      checkSame('against a copied source', to, expected);
      return [];
    });
  b.emit('overlap', `[a, b] = [${text}] of t${x}: a.${op}(b)`, [x], run, { inPlace: true });
}
