// What a model remembers between tokens: nested arrays and objects of tensors, and numbers such as a position.
import { noGrad } from '../autograd';
import { argumentError, describe, type Device, type ErrorCode, formatShape, sameShape, Tensor } from '../core';
import { isSameList } from './form';

/** Tensors, positions and null in lists and objects, nested at most 64 deep. */
export type State = Tensor | number | null | State[] | { [name: string]: State };

/** Deeper nesting than that of any model; a state that holds itself has no end. */
const MAX_DEPTH = 64;

function mapTensors(state: State, f: (t: Tensor) => Tensor, depth = 0): State {
  if (state instanceof Tensor) return f(state);
  if (state === null || typeof state !== 'object') return state;
  if (depth === MAX_DEPTH) {
    const expected = `nested at most ${MAX_DEPTH} deep`;
    throw argumentError('INVALID_ARGUMENT', 'state', 'state', expected, 'a deeper one, or one that holds itself');
  }
  if (Array.isArray(state)) return state.map((part) => mapTensors(part, f, depth + 1));
  return Object.fromEntries(Object.entries(state).map(([name, part]) => [name, mapTensors(part, f, depth + 1)]));
}

/** In the order of lists and names. */
export function tensorsOf(state: State): Tensor[] {
  const found: Tensor[] = [];
  mapTensors(state, (t) => {
    found.push(t);
    return t;
  });
  return found;
}

/** A state of the same form with other tensors, in the order of `tensorsOf`. */
export function withTensors<S extends State>(state: S, tensors: readonly Tensor[]): S {
  let next = 0;
  return mapTensors(state, () => tensors[next++]) as S;
}

/** A copy in memory of its own, which no scope frees. */
export function cloneState<S extends State>(state: S): S {
  for (const t of tensorsOf(state)) t.checkAlive('cloneState');
  return noGrad(() => mapTensors(state, (t) => t.clone().persist())) as S;
}

/** Another handle on the same memory, which no scope frees: neither may be changed in place before `ownState`. */
export function shareState<S extends State>(state: S): S {
  for (const t of tensorsOf(state)) t.checkAlive('shareState');
  return mapTensors(state, (t) => t.detach().persist()) as S;
}

/**
 * Before a change in place: tensors whose memory is held elsewhere, too, are replaced by copies, within the lists and
 * objects that are there; the handle that is given back is another one only where the state is a single tensor.
 */
export function ownState(state: State): State {
  if (state instanceof Tensor) {
    if (state.storage.isUnshared) return state;
    const own = cloneState(state);
    state.dispose();
    return own;
  }
  if (state === null || typeof state !== 'object') return state;
  const parts = state as { [name: string]: State };
  for (const [name, part] of Object.entries(parts)) {
    const own = ownState(part);
    if (own !== part) parts[name] = own;
  }
  return state;
}

/**
 * Puts the values of a state into another one of the same form, whose tensors, lists and objects stay where they are; false, with
 * nothing done, where the forms differ or the two have memory in common.
 */
export function assignState(place: State, state: State): boolean {
  const held = new Set(tensorsOf(place).map(({ storage }) => storage));
  const apart = tensorsOf(state).every(({ storage }) => !held.has(storage));
  if (typeof place === 'number' || !apart || !fits(place, state)) return false;
  noGrad(() => assignParts(place, state));
  return true;
}

type Node = { [name: string]: State };

function isNode(state: State): state is Node {
  return typeof state === 'object' && state !== null && !(state instanceof Tensor);
}

function fits(place: State, state: State): boolean {
  if (place instanceof Tensor) {
    const { shape, dtype, device } = place;
    return state instanceof Tensor && sameShape(state.shape, shape) && state.dtype === dtype && state.device === device;
  }
  if (!isNode(place)) return typeof state === typeof place && !isNode(state) && !(state instanceof Tensor);
  if (!isNode(state) || !isSameList(Object.keys(place), Object.keys(state))) return false;
  return Object.entries(place).every(([name, part]) => fits(part, state[name]));
}

function assignParts(place: State, state: State): void {
  if (place instanceof Tensor) place.copy_(state as Tensor);
  else if (isNode(place)) {
    for (const [name, part] of Object.entries(state as Node)) {
      if (typeof part === 'number') place[name] = part;
      else assignParts(place[name], part);
    }
  }
}

/** Bytes of the tensors in a state. */
export function bytesOf(state: State): number {
  return tensorsOf(state).reduce((sum, t) => sum + t.size * t.storage.elementBytes, 0);
}

/** Takes the tensors out of every scope: they live until `disposeState`. */
export function persistState<S extends State>(state: S): S {
  for (const t of tensorsOf(state)) t.persist();
  return state;
}

/** Where a state lies; undefined where it holds no tensor. */
export function deviceOf(state: State): Device | undefined {
  if (state instanceof Tensor) return state.device;
  if (state === null || typeof state !== 'object') return undefined;
  for (const part of Object.values(state)) {
    const device = deviceOf(part);
    if (device) return device;
  }
  return undefined;
}

/** Frees every tensor in a state; positions and null stay. */
export function disposeState(state: State): void {
  for (const t of tensorsOf(state)) t.dispose();
}

/**
 * Requires a state of the form of `like`, that of an empty text: the same names, lists as long, tensors of the same shape,
 * dtype and device. Where a dimension is 0 in it, that of a cache which grows, any size will do.
 */
export function checkStateLike(where: string, argument: string, state: unknown, like: State, path = ''): void {
  const at = path && ` at ${path}`;
  const fail = (code: ErrorCode, expected: string, found: string): never => {
    throw argumentError(code, where, argument, `${expected}${at}`, found);
  };
  if (like instanceof Tensor) {
    if (!(state instanceof Tensor)) return fail('INVALID_ARGUMENT', 'a Tensor', describe(state));
    state.checkAlive(where);
    const shape = like.shape.map((d, i) => (d === 0 ? (state.shape[i] ?? d) : d));
    if (!sameShape(state.shape, shape)) fail('SHAPE', formatShape(shape), formatShape(state.shape));
    if (state.dtype !== like.dtype) fail('DTYPE', like.dtype, state.dtype);
    if (state.device !== like.device) fail('DEVICE', `on '${like.device}'`, `'${state.device}'`);
  } else if (like === null) {
    if (state !== null) fail('INVALID_ARGUMENT', 'null', describe(state));
  } else if (typeof like === 'number') {
    if (!Number.isInteger(state) || (state as number) < 0) fail('INVALID_ARGUMENT', 'a position', describe(state));
  } else if (Array.isArray(like)) {
    if (!Array.isArray(state)) return fail('INVALID_ARGUMENT', `a state of ${like.length} layers`, describe(state));
    if (state.length !== like.length) fail('SHAPE', `a state of ${like.length} layers`, `one of ${state.length}`);
    like.forEach((part, i) => checkStateLike(where, argument, state[i], part, `${path}[${i}]`));
  } else {
    const names = (value: object): string => `{ ${Object.keys(value).sort().join(', ')} }`;
    const found = isRecord(state) ? names(state) : describe(state);
    if (!isRecord(state) || found !== names(like)) return fail('INVALID_ARGUMENT', names(like), found);
    for (const [name, part] of Object.entries(like)) {
      checkStateLike(where, argument, state[name], part, path ? `${path}.${name}` : name);
    }
    checkCache(state as { [name: string]: State }, like, fail);
  }
}

/** Of what grows, a part counts, from `start` to `end`; it lies in all of them at the same places. */
function checkCache(
  state: { [name: string]: State },
  like: { [name: string]: State },
  fail: (code: ErrorCode, expected: string, found: string) => never,
): void {
  const sizes = Object.entries(like).flatMap(([name, part]) => {
    const growing = part instanceof Tensor ? part.shape.indexOf(0) : -1;
    return growing < 0 ? [] : [(state[name] as Tensor).shape[growing]];
  });
  if (sizes.length === 0) return;
  const { start, end } = state;
  if (sizes.some((size) => size !== sizes[0])) fail('SHAPE', 'tensors of one length', sizes.join(' and '));
  if (typeof start !== 'number' || typeof end !== 'number') return;
  if (start > end || end > sizes[0]) fail('INVALID_ARGUMENT', `a part of ${sizes[0]} positions`, `${start} to ${end}`);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Tensor);
}
