// What a model remembers between tokens: nested arrays and objects of tensors, and numbers such as a position.
import { noGrad } from '../autograd';
import { type Device, Tensor } from '../core';

export type State = Tensor | number | null | State[] | { [name: string]: State };

function mapTensors(state: State, f: (t: Tensor) => Tensor): State {
  if (state instanceof Tensor) return f(state);
  if (state === null || typeof state !== 'object') return state;
  if (Array.isArray(state)) return state.map((part) => mapTensors(part, f));
  return Object.fromEntries(Object.entries(state).map(([name, part]) => [name, mapTensors(part, f)]));
}

/** A copy in memory of its own, which no scope frees. */
export function cloneState<S extends State>(state: S): S {
  return noGrad(() => mapTensors(state, (t) => t.clone().persist())) as S;
}

/** Takes the tensors out of every scope: they live until `disposeState`. */
export function persistState<S extends State>(state: S): S {
  mapTensors(state, (t) => t.persist());
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

export function disposeState(state: State): void {
  mapTensors(state, (t) => {
    t.dispose();
    return t;
  });
}
