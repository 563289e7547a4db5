// How the states of single texts lie in that of a batch.
import { noGrad } from '../../autograd';
import { argumentError, type Device, Tensor } from '../../core';
import { batchDimension, isNumberEach, isRows, raggedState, rememberLike } from '../ragged';
import type { RecurrentModel } from '../model';
import { disposeState, type State } from '../state';

type Path = readonly string[];
type Node = { [name: string]: State };

/** A part of the state that texts have each for themselves. */
export type Leaf =
  | { readonly kind: 'tensor'; readonly path: Path; readonly dimension: number; readonly like: Like }
  /** A list with a number for each, of which a text's own state has the number, or a list of one. */
  | { readonly kind: 'number'; readonly path: Path; readonly listed: boolean }
  /** A list with the part of each. */
  | { readonly kind: 'rows'; readonly path: Path };

/** Of a tensor of one text. */
interface Like {
  readonly shape: readonly number[];
  readonly dtype: Tensor['dtype'];
  readonly device: Device;
}

/** A state within an object, so that all of it can be replaced, too. */
export interface Held {
  root: State;
}

export function get({ root }: Held, path: Path): State {
  return path.reduce((node, name) => (node as Node)[name], root);
}

export function set(held: Held, path: Path, value: State): void {
  if (path.length === 0) {
    held.root = value;
    return;
  }
  (get(held, path.slice(0, -1)) as Node)[path[path.length - 1]] = value;
}

export interface Plan {
  readonly leaves: readonly Leaf[];
  /** The state of a batch, by the parts of its texts in the order of the leaves. */
  build(parts: readonly State[], texts: number): State;
}

/** Of the states that a model has and of those that it steps. */
export function planOf(model: RecurrentModel): Plan {
  const ragged = (batch: number): State =>
    model.raggedState ? model.raggedState(batch) : raggedState((count) => model.initialState(count), batch);
  const [own, one, two] = noGrad(() => [model.initialState(1), ragged(1), ragged(2)]);
  try {
    const leaves: Leaf[] = [];
    collect(own, one, two, [], leaves);
    return { leaves, build: (parts, texts) => build(one, parts[Symbol.iterator](), texts) };
  } finally {
    disposeState([own, one, two]);
  }
}

function collect(own: State, one: State, two: State, path: Path, leaves: Leaf[]): void {
  const refuse = (): never => {
    const expected = `that of initialState but for lists of numbers and rows${path.length > 0 ? ` at ${path.join('.')}` : ''}`;
    throw argumentError('INVALID_ARGUMENT', 'BatchedModel', 'raggedState', expected, 'a state of another form');
  };
  if (isRows(one)) return void leaves.push({ kind: 'rows', path });
  if (one instanceof Tensor) {
    const dimension = two instanceof Tensor ? batchDimension(one, two) : -1;
    if (dimension < 0 || !(own instanceof Tensor) || own.shape.join() !== one.shape.join()) return refuse();
    const { shape, dtype, device } = one;
    return void leaves.push({ kind: 'tensor', path, dimension, like: { shape, dtype, device } });
  }
  if (one === null) return own === null ? undefined : refuse();
  if (isNumberEach(one, two)) return void leaves.push({ kind: 'number', path, listed: Array.isArray(own) });
  if (typeof one === 'number' || typeof own !== 'object' || own === null) return refuse();
  if (Object.keys(own).join() !== Object.keys(one).join()) return refuse();
  for (const [name, part] of Object.entries(one)) {
    collect((own as Node)[name], part, (two as Node)[name], [...path, name], leaves);
  }
}

/** A state of the form of `one`, with other parts. */
function build(one: State, parts: Iterator<State>, texts: number): State {
  if (one === null) return null;
  if (isRows(one)) return { rows: parts.next().value as State[] };
  if (one instanceof Tensor || typeof one === 'number') return parts.next().value as State;
  if (Array.isArray(one) && one.every((part) => typeof part === 'number')) {
    return parts.next().value as State;
  }
  const entries = Object.entries(one).map(([name, part]) => [name, build(part, parts, texts)] as const);
  const state = Array.isArray(one) ? entries.map(([, part]) => part) : Object.fromEntries(entries);
  rememberLike(state, one, texts);
  return state;
}
