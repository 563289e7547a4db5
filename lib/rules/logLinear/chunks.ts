// Log-linear attention over a sequence, in chunks of matrix products: O(T log T). A chunk of a linear recurrence is four matrices,
// which one call of the recurrence gives for all chunks (spec 2.14 j): how its values are mixed, how its queries read a state
// before it, what its values write, and what it makes of a state.
import type { Tensor } from '../../core';
import { cat, indexSelect, split, stack, tensor, zerosBeside } from '../../ops';
import { type Group, groupsIn, levelOf, merged, runsOf } from './levels';

/** Longest chunk. */
const CHUNK = 64;
const SHORTEST = 16;

/** A recurrence over sequences of equal lengths: output [B, T, H, V] and the final state [B, H, K, V]. */
export type Linear = (
  tokens: Readonly<Record<string, Tensor>>,
  values: Tensor,
  initialState: Tensor,
) => { output: Tensor; finalState: Tensor };

/** Tokens of sequences [B, T, ...] from one position on. */
export interface Tokens {
  /** What the recurrence takes of each token beside its values. */
  tokens: Readonly<Record<string, Tensor>>;
  /** [B, T, H, V] */
  v: Tensor;
  /** [B, T, H, L] */
  levelScales: Tensor;
  /** The states [B, H, L, K, V] of the tokens before them. */
  states: Tensor;
  /** How many tokens there were before them. */
  position: number;
}

/** The numbers 1 on the diagonal of an n x n matrix, with zeros [n, m] before or behind it. */
function unitRows(like: Tensor, n: number, m: number, before: boolean): Tensor {
  const data = new Float64Array(n * (n + m));
  for (let i = 0; i < n; i++) data[i * (n + m) + i + (before ? m : 0)] = 1;
  return tensor(data, { shape: [n, n + m], dtype: like.dtype as 'float32', device: like.device });
}

/**
 * Places in rows of L, a row for every token of a chunk: those of the levels at which it finds each of `members`. What is behind
 * a token and what is padded has some place, too, and nothing to be scaled.
 */
function placesOf(like: Tensor, tokens: readonly number[], members: readonly number[], L: number): Tensor {
  const places = tokens.flatMap((t, i) => members.map((s) => i * L + Math.min(L - 1, levelOf(Math.max(t, s), s))));
  return tensor(Int32Array.from(places), { dtype: 'int32', device: like.device });
}

/** Output [B, T, H, V] and the states [B, H, L, K, V] after the last token. */
export function logLinearChunks(linear: Linear, given: Tokens): { output: Tensor; states: Tensor } {
  const { tokens, v, levelScales, states, position } = given;
  const [B, T, H, V] = v.shape;
  const [, , L, K] = states.shape;
  let C = SHORTEST;
  while (C < CHUNK && C < T) C *= 2;
  const front = position % C;
  const N = Math.ceil((front + T) / C);
  /** [B, T, ...] to [B N, C, ...], chunks that begin at multiples of C; what is padded writes and reads nothing. */
  const chunked = (x: Tensor): Tensor => {
    const blank = (n: number): Tensor[] => (n > 0 ? [zerosBeside(x, [B, n, ...x.shape.slice(2)])] : []);
    const padded = cat([...blank(front), x, ...blank(N * C - front - T)], 1);
    return padded.reshape([B * N, C, ...x.shape.slice(2)]);
  };
  /** [B N, C, H, D] to [B, N, H, C, D] */
  const byHead = (x: Tensor): Tensor => x.permute(0, 2, 1, 3).reshape(B, N, H, C, x.shape[3]);
  const own = Object.fromEntries(Object.entries(tokens).map(([name, x]) => [name, chunked(x)]));
  const { output: read, finalState } = linear(
    own,
    unitRows(v, C, K, false)
      .reshape(1, C, 1, C + K)
      .expand(B * N, C, H, C + K),
    unitRows(v, K, C, true)
      .reshape(1, 1, K, K + C)
      .expand(B * N, H, K, K + C),
  );
  const mixing = byHead(read.slice(3, 0, C));
  const reading = byHead(read.slice(3, C));
  const [writing, passing] = [finalState.slice(3, 0, C), finalState.slice(3, C)].map((m) =>
    m.reshape(B, N, H, K, m.shape[3]),
  );
  const values = byHead(chunked(v));
  const scales = byHead(chunked(levelScales)).reshape(B, N, H, C * L);
  const local = Array.from({ length: C }, (_, i) => i);
  const weights = indexSelect(scales, 3, placesOf(v, local, local, L)).reshape(B, N, H, C, C);
  const within = mixing.mul(weights).matmul(values);
  const written = N > 1 ? writing.matmul(values) : null;
  const at = (x: Tensor, n: number): Tensor => x.slice(1, n, n + 1).squeeze(1);

  let groups: Group[] = position > 0 ? groupsIn(states, position - 1) : [];
  const last = position + T - 1;
  const outputs: Tensor[] = [];
  for (let n = 0; n < N; n++) {
    const begin = position - front + n * C;
    const first = Math.max(position, begin);
    groups = merged(groups, first);
    const before =
      groups.length > 0
        ? cat(
            groups.map(({ state }) => state),
            3,
          )
        : null;
    let output = at(within, n);
    if (before) {
      const members = groups.map(({ member }) => member);
      const places = placesOf(
        v,
        local.map((i) => Math.max(first, begin + i)),
        members,
        L,
      );
      const share = indexSelect(at(scales, n), 2, places).reshape(B, H, C, members.length, 1);
      const found = at(reading, n).matmul(before).reshape(B, H, C, members.length, V);
      output = output.add(found.mul(share).sum(3));
    }
    outputs.push(output);
    if (before) {
      const passed = split(at(passing, n).matmul(before), new Array<number>(groups.length).fill(V), 3);
      groups = groups.map(({ member }, g) => ({ member, state: passed[g] }));
    }
    if (n < N - 1) groups.push({ member: first, state: at(written!, n) });
    else {
      const [w, x] = [at(writing, n), at(values, n)];
      for (const { from, to } of runsOf(first, last)) {
        const part = [from - begin, to - begin] as const;
        groups.push({ member: from, state: w.slice(3, ...part).matmul(x.slice(2, ...part)) });
      }
    }
  }
  const after = new Map(merged(groups, last).map(({ member, state }) => [levelOf(last, member), state]));
  const blank = zerosBeside(v, [B, H, K, V]);
  return {
    output: stack(outputs, 1)
      .permute(0, 1, 3, 2, 4)
      .reshape(B, N * C, H, V)
      .slice(1, front, front + T),
    states: stack(
      Array.from({ length: L }, (_, level) => after.get(level) ?? blank),
      2,
    ),
  };
}
