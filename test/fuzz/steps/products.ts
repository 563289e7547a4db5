// Matrix products, projections, the gated feed-forward.
import * as fw from '../../../lib';
import type { Builder } from '../builder';

/** Sizes of a product: mostly small, sometimes beyond what a kernel takes at once in one direction. */
function sides(b: Builder): [m: number, n: number, k: number] {
  const side = (): number => b.size(100);
  const sizes: [number, number, number] = [side(), side(), side()];
  if (b.random.chance(0.1)) sizes[b.random.int(0, 2)] = b.random.pick([97, 150, 200, 300, 1030]);
  while (sizes[0] * sizes[1] * sizes[2] > 300_000) {
    const i = sizes.indexOf(Math.max(...sizes));
    sizes[i] = Math.ceil(sizes[i] / 3);
  }
  return sizes;
}

const scaled = (n: number) => ({ draw: (r: { normal(): number }) => r.normal() / Math.sqrt(Math.max(1, n)) });

export function matmul(b: Builder): void {
  const { random } = b;
  const [m, n, k] = sides(b);
  const lead = m * n * k > 20_000 ? [] : b.shape(0, 2, 8);
  const [left, right] = random.pick([
    [lead, lead],
    [lead, []],
    [[], lead],
    [lead, lead.map((d) => (random.chance(0.5) ? 1 : d))],
  ]);
  const row = lead.length === 0 && random.chance(0.1);
  const x = b.operand(row ? [k] : [...left, m, k]);
  const y = b.operand([...right, k, n]);
  b.emit('matmul', `t${x}.matmul(t${y})`, [x, y], ([s, t]) => [s.matmul(t)]);
}

export function linear(b: Builder): void {
  const { random } = b;
  const [rows, n, k] = sides(b);
  const lead = random.chance(0.2) ? b.shape(0, 3, 20) : [rows];
  const x = b.operand([...lead, k]);
  const weight = b.leaf([n, k], scaled(k));
  const bias = random.chance(0.6) ? b.operand([n]) : null;
  const residual = random.chance(0.4) ? b.operand([...lead, n]) : null;
  const activation = random.chance(0.4) ? 'silu' : null;
  const inputs = [x, weight, ...[bias, residual].filter((id) => id !== null)];
  const text = `linear(t${x}, t${weight}, ${bias === null ? null : `t${bias}`}, { activation: ${activation}, residual: ${residual === null ? null : `t${residual}`} })`;
  b.emit('linear', text, inputs, ([t, w, ...rest]) => {
    const c = bias === null ? null : rest.shift()!;
    return [fw.linear(t, w, c, { activation, residual: residual === null ? null : rest[0] })];
  });
}

export function feedForward(b: Builder): void {
  const { random } = b;
  const [rows, hidden, d] = sides(b);
  const lead = random.chance(0.2) ? b.shape(0, 3, 20) : [rows];
  if (random.chance(0.3)) {
    const [gate, up] = [b.operand([...lead, d]), b.operand([...lead, d])];
    b.emit('feedForward', `swiglu(t${gate}, t${up})`, [gate, up], ([g, u]) => [fw.swiglu(g, u)]);
    return;
  }
  const x = b.operand([...lead, d]);
  const [gate, up] = [b.leaf([hidden, d], scaled(d)), b.leaf([hidden, d], scaled(d))];
  const down = b.leaf([d, hidden], scaled(hidden));
  const residual = random.chance(0.4) ? b.operand([...lead, d]) : null;
  const text = `feedForward(t${x}, { gate: t${gate}, up: t${up}, down: t${down} }, ${residual === null ? null : `t${residual}`})`;
  const inputs = [x, gate, up, down, ...(residual === null ? [] : [residual])];
  b.emit('feedForward', text, inputs, ([t, g, u, dn, r]) => [
    fw.feedForward(t, { gate: g, up: u, down: dn }, r ?? null),
  ]);
}
