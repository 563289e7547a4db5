// Packed sequences for rules that take whole ones: those of one length run beside each other, as a batch.
import type { Tensor } from '../../core';
import { cat, type CuSeqlens, indexSelect, tensor } from '../../ops';

/** Numbers of the sequences of one length, for each length in the order of its first; sequences without tokens are alone. */
export function ofOneLength(offsets: CuSeqlens): number[][] {
  const groups = new Map<number, number[]>();
  for (let n = 0; n + 1 < offsets.length; n++) {
    const length = offsets[n + 1] - offsets[n];
    const key = length > 0 ? length : -n;
    const group = groups.get(key);
    if (group) group.push(n);
    else groups.set(key, [n]);
  }
  return [...groups.values()];
}

function select(x: Tensor, dim: number, places: ArrayLike<number>): Tensor {
  return indexSelect(x, dim, tensor(Int32Array.from(places), { dtype: 'int32', device: x.device }));
}

/** The tokens of some sequences of one length: of x [1, T, ...] the batch [members, length, ...]. */
export function tokensOf(x: Tensor, offsets: CuSeqlens, members: readonly number[]): Tensor {
  const [from, to] = [offsets[members[0]], offsets[members[0] + 1]];
  if (members.length === 1) return x.slice(1, from, to);
  const places = members.flatMap((n) => Array.from({ length: to - from }, (_, t) => offsets[n] + t));
  return select(x, 1, places).reshape(members.length, to - from, ...x.shape.slice(2));
}

/** Their states: of [N, ...] the rows [members, ...]. */
export function statesOf(state: Tensor, members: readonly number[]): Tensor {
  return members.length === 1 ? state.slice(0, members[0], members[0] + 1) : select(state, 0, members);
}

/** Tokens of all groups, each [members, length, ...], in the order of the sequences again: [1, T, ...]. */
export function tokensInOrder(parts: readonly Tensor[], offsets: CuSeqlens, groups: readonly number[][]): Tensor {
  const all = cat(
    parts.map((part) => part.reshape(1, part.shape[0] * part.shape[1], ...part.shape.slice(2))),
    1,
  );
  if (groups.length === offsets.length - 1) return all;
  const places = new Int32Array(all.shape[1]);
  let at = 0;
  for (const n of groups.flat()) for (let t = offsets[n]; t < offsets[n + 1]; t++) places[t] = at++;
  return select(all, 1, places);
}

/** States of all groups, each [members, ...], in that order: [N, ...]. */
export function statesInOrder(parts: readonly Tensor[], groups: readonly number[][]): Tensor {
  const all = cat([...parts]);
  if (groups.length === all.shape[0]) return all;
  const places = new Int32Array(all.shape[0]);
  groups.flat().forEach((n, at) => (places[n] = at));
  return select(all, 0, places);
}
