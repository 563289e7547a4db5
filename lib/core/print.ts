// What a tensor looks like in a terminal: its values in aligned columns, as NumPy and PyTorch print them.
import { isFloat, type ReadArray } from './dtype';
import { scope } from './scope';
import { formatShape, sizeOf } from './shape';
import type { Tensor } from './tensor';

/** Above so many elements most of them are left out. */
const MOST_ELEMENTS = 1000;
/** Of a dimension that is shortened, at either end. */
const EDGE = 3;
const LINE = 100;
const DIGITS = 4;

/** The tensor in one line, without its values. */
export function summary(t: Tensor): string {
  return `Tensor(${formatShape(t.shape)}, ${properties(t)})`;
}

function properties(t: Tensor): string {
  const state = t.isDisposed ? ', disposed' : t.requiresGrad ? ', requiresGrad' : '';
  return `${t.dtype}, ${t.device}${state}`;
}

/** The values and what else there is to know. Reads them, which blocks; a tensor that cannot be read says why. */
export function printTensor(t: Tensor): string {
  if (t.isDisposed) return summary(t);
  const shortened = t.size > MOST_ELEMENTS;
  let values: ReadArray;
  let shape: readonly number[];
  try {
    ({ values, shape } = scope(() => {
      const shown = shortened ? edges(t.detach()) : t.detach();
      return { values: shown.dataSync(), shape: shown.shape };
    }));
  } catch (error) {
    return `Tensor(${formatShape(t.shape)}, ${properties(t)}, failed: ${error instanceof Error ? error.message : String(error)})`;
  }
  const cut = t.shape.map((n, d) => n !== shape[d]);
  const last = `shape ${formatShape(t.shape)}, ${properties(t)})`;
  const body = nest(columns(t, values), shape, cut, 0, 'tensor('.length);
  const line = body.slice(body.lastIndexOf('\n') + 1).length + (body.includes('\n') ? 0 : 'tensor('.length);
  return `tensor(${body},${line + 2 + last.length > LINE ? `\n${' '.repeat('tensor('.length)}` : ' '}${last}`;
}

/** The ends of every dimension that is long: two windows, one after the other. */
function edges(t: Tensor): Tensor {
  return t.shape.reduce<Tensor>((shown, n, d) => {
    if (n <= 2 * EDGE) return shown;
    return shown
      .unfold(d, EDGE, n - EDGE)
      .movedim(-1, d + 1)
      .flatten(d, d + 1);
  }, t);
}

/** Every value as text of one width. */
function columns(t: Tensor, values: ReadArray): string[] {
  const texts = isFloat(t.dtype)
    ? floats(values)
    : Array.from(values, (x) => (t.dtype === 'bool' ? String(x !== 0) : String(x)));
  const width = texts.reduce((most, text) => Math.max(most, text.length), 0);
  return texts.map((text) => text.padStart(width));
}

/** Whole numbers with a dot, else four digits behind it, or an exponent where magnitudes are far apart. */
function floats(values: ReadArray): string[] {
  let [least, most, whole] = [Infinity, 0, true];
  for (const x of values) {
    if (!Number.isFinite(x)) continue;
    whole &&= Number.isInteger(x);
    if (x === 0) continue;
    least = Math.min(least, Math.abs(x));
    most = Math.max(most, Math.abs(x));
  }
  const exponent = most > 1e8 || (!whole && most > 0 && (most / least > 1000 || least < 1e-4));
  return Array.from(values, (x) => {
    if (Number.isNaN(x)) return 'nan';
    if (!Number.isFinite(x)) return x > 0 ? 'inf' : '-inf';
    if (exponent) return x.toExponential(DIGITS);
    const sign = Object.is(x, -0) ? '-' : '';
    return sign + (whole ? `${x.toFixed(0)}.` : x.toFixed(DIGITS));
  });
}

/** Lists in lists, each line `indent` from the left. */
function nest(texts: string[], shape: readonly number[], cut: boolean[], d: number, indent: number): string {
  if (d === shape.length) return texts[0];
  const size = sizeOf(shape.slice(d + 1));
  const items = Array.from({ length: shape[d] }, (_, i) =>
    d === shape.length - 1 ? texts[i] : nest(texts.slice(i * size, (i + 1) * size), shape, cut, d + 1, indent + 1),
  );
  if (cut[d]) items.splice(EDGE, 0, '...');
  if (d < shape.length - 1) {
    const blank = '\n'.repeat(shape.length - 1 - d);
    return `[${items.join(`,${blank}${' '.repeat(indent + 1)}`)}]`;
  }
  const perLine = Math.max(1, Math.floor((LINE - indent - 1) / ((items[0]?.length ?? 0) + 2)));
  const lines = Array.from({ length: Math.ceil(items.length / perLine) }, (_, i) =>
    items.slice(i * perLine, (i + 1) * perLine).join(', '),
  );
  return `[${lines.join(`,\n${' '.repeat(indent + 1)}`)}]`;
}
