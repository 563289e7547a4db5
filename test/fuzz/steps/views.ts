// Views and copies.
import * as fw from '../../../lib';
import type { Builder } from '../builder';

/** Any tensor, int32 and bool among them. */
function any(b: Builder): number {
  const found = b.ids((t) => t.ndim > 0);
  return found.length > 0 && b.random.chance(0.8) ? b.random.pick(found) : b.leaf(b.shape(1, 4));
}

export function view(b: Builder): void {
  const { random } = b;
  const x = any(b);
  const { shape, size } = b.tensor(x);
  const dim = random.int(0, shape.length - 1);
  switch (random.int(0, 7)) {
    case 0: {
      const order = random.shuffled([...shape.keys()]);
      b.emit('view', `t${x}.permute(${order.join(', ')})`, [x], ([t]) => [t.permute(order)]);
      return;
    }
    case 1: {
      const [from, to] = [0, 1].map(() => random.int(-shape[dim] - 1, shape[dim] + 1));
      b.emit('view', `t${x}.slice(${dim}, ${from}, ${to})`, [x], ([t]) => [t.slice(dim, from, to)]);
      return;
    }
    case 2: {
      const target = reshaped(b, size);
      b.emit('view', `t${x}.reshape(${target.join(', ')})`, [x], ([t]) => [t.reshape(target)]);
      return;
    }
    case 3: {
      const lead = random.chance(0.3) && size < 500 ? [random.int(0, 3)] : [];
      const target = [...lead, ...shape.map((d) => (d === 1 && size < 500 ? random.int(0, 4) : d))];
      b.emit('view', `t${x}.expand(${target.join(', ')})`, [x], ([t]) => [t.expand(target)]);
      return;
    }
    case 4:
      if (random.chance(0.5)) b.emit('view', `t${x}.unsqueeze(${dim})`, [x], ([t]) => [t.unsqueeze(dim)]);
      else b.emit('view', `t${x}.squeeze(${dim})`, [x], ([t]) => [t.squeeze(dim)]);
      return;
    case 5:
      if (random.chance(0.5)) b.emit('view', `t${x}.contiguous()`, [x], ([t]) => [t.contiguous()]);
      else b.emit('view', `t${x}.clone()`, [x], ([t]) => [t.clone()]);
      return;
    case 6: {
      const first = random.int(0, shape[dim]);
      const sizes = [first, shape[dim] - first];
      b.emit('view', `split(t${x}, [${sizes.join(', ')}], ${dim})`, [x], ([t]) => fw.split(t, sizes, dim));
      return;
    }
    default:
      b.emit('view', `t${x}.detach()`, [x], ([t]) => [t.detach()]);
  }
}

/** Sizes whose product is `size`. */
function reshaped(b: Builder, size: number): number[] {
  if (size === 0) return [0, b.random.int(0, 3)];
  const target: number[] = [];
  let left = size;
  while (left > 1 && target.length < 4) {
    const factors = [1, 2, 3, 4, 5, 7, 8].filter((f) => left % f === 0);
    const factor = b.random.chance(0.3) ? left : b.random.pick(factors);
    target.push(factor);
    left /= factor;
  }
  if (left > 1) target.push(left);
  return b.random.shuffled(target);
}

/** Frames, windows, turns, repeats, triangles: copies and views of a tensor of at least one dimension. */
export function frame(b: Builder): void {
  const { random } = b;
  const x = any(b);
  const { shape, size } = b.tensor(x);
  if (size > 2000) return;
  const dim = random.int(0, shape.length - 1);
  const n = shape[dim];
  switch (random.int(0, 6)) {
    case 0: {
      const padding = Array.from({ length: 2 * random.int(1, shape.length) }, () => random.int(0, 2));
      b.emit('frame', `t${x}.pad([${padding.join(', ')}])`, [x], ([t]) => [t.pad(padding)]);
      return;
    }
    case 1: {
      const last = shape[shape.length - 1];
      const padding = [random.int(0, Math.max(0, last - 1)), random.int(0, Math.max(0, last - 1))];
      const mode = random.pick(['reflect', 'replicate', 'circular'] as const);
      b.emit('frame', `t${x}.pad([${padding.join(', ')}], '${mode}')`, [x], ([t]) => [t.pad(padding, mode)]);
      return;
    }
    case 2: {
      const [width, step] = [random.int(0, n), random.int(1, 3)];
      b.emit('frame', `t${x}.unfold(${dim}, ${width}, ${step})`, [x], ([t]) => [t.unfold(dim, width, step)]);
      return;
    }
    case 3:
      b.emit('frame', `t${x}.flip(${dim})`, [x], ([t]) => [t.flip(dim)]);
      return;
    case 4: {
      const shift = random.int(-4, 4);
      b.emit('frame', `t${x}.roll(${shift}, ${dim})`, [x], ([t]) => [t.roll(shift, dim)]);
      return;
    }
    case 5: {
      const times = random.int(0, 3);
      b.emit('frame', `t${x}.repeatInterleave(${times}, ${dim})`, [x], ([t]) => [t.repeatInterleave(times, dim)]);
      return;
    }
    default: {
      if (shape.length < 2) return;
      const k = random.int(-2, 2);
      const op = random.pick(['tril', 'triu', 'diagonal'] as const);
      b.emit('frame', `t${x}.${op}(${k})`, [x], ([t]) => [t[op](k)]);
    }
  }
}

export function join(b: Builder): void {
  const { random } = b;
  const x = any(b);
  const { shape, dtype } = b.tensor(x);
  if (b.tensor(x).size > 2000 || dtype === 'bool') return;
  const options = dtype === 'int32' ? { integer: true, draw: () => random.int(-9, 9) } : {};
  if (random.chance(0.3)) {
    const dim = random.int(0, shape.length);
    const y = b.operand([...shape], options);
    b.emit('join', `stack([t${x}, t${y}], ${dim})`, [x, y], (parts) => [fw.stack(parts, dim)]);
    return;
  }
  const dim = random.int(0, shape.length - 1);
  const y = b.operand(
    shape.map((d, i) => (i === dim ? random.int(0, 4) : d)),
    options,
  );
  const parts = random.pick([
    [x, y],
    [y, x],
    [x, y, x],
  ]);
  const text = `cat([${parts.map((id) => `t${id}`).join(', ')}], ${dim})`;
  b.emit('join', text, parts, (tensors) => [fw.cat(tensors, dim)]);
}

/** Frees a tensor while what was queued may still need its memory. */
export function dispose(b: Builder): void {
  const found = b.ids(() => true);
  if (found.length < 3) return;
  const id = b.random.pick(found);
  b.emit('dispose', `t${id}.dispose()`, [id], ([t]) => {
    t.dispose();
    return [];
  });
}
