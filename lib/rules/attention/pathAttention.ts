// PaTH attention: softmax attention whose positions are products of Householder transforms (Yang et al. 2025; spec 2.13.12).
import { checkNumber, type Tensor } from '../../core';
import { cat, eye, repeatHeads, split, withChecks } from '../../ops';
import { unobserved } from '../observe';
import { checkLogarithm } from '../recurrence/checks';
import { finiteLogarithm } from '../recurrence/logarithms';
import { runRecurrence } from '../recurrence/run';
import { defineSequential } from '../sequential/define';
import { withQkv } from '../sequential/qkv';
import { checkQueryHeads } from './forgettingAttention';
import { causal, decaysAfter, decayScores, headsFirst, inTile, products, TILE, tilesOf, weigh } from './tiles';

/** Options of `pathAttention`. */
export interface PathOptions {
  /** Multiplies q . k and the gates; K ** -0.5 by default. */
  scale?: number | null;
}

const name = 'pathAttention';
const OPTIONS = { scale: true } as const;

/** q, k, w [B, T, Q, K], beta [B, T, Q]. */
interface Operands {
  q: Tensor;
  k: Tensor;
  w: Tensor;
  beta: Tensor;
}

/** What the transforms make of tiles of C tokens. */
interface Transported {
  /** Products of a tile's queries with its keys [B, T, Q, C], 0 for later ones. */
  inside: Tensor;
  /** Queries carried back to where their tile begins [B, T, Q, K]. */
  queries: Tensor;
  /** Of each tile [B, Q, K, C + K]: its keys carried on to its end as columns, and the product of its transforms. */
  ends: Tensor[];
}

/**
 * The state S = (I - beta w w^T) S + k e^T of a recurrence over a tile, e the unit vector of the token's place, has the keys so
 * far, carried on, as its columns; beside it one that begins as the identity, and is written nothing, has the transforms.
 * Reads are the products of a query with the first, and the query carried back by the second.
 */
function transport({ q, k, w, beta }: Operands): Transported {
  const [B, T, Q, K] = q.shape;
  const C = Math.min(T, TILE);
  const tiles = Math.ceil(T / C);
  const on = { dtype: q.dtype, device: q.device };
  const packed = (x: Tensor): Tensor => x.reshape(1, B * T, ...x.shape.slice(2));
  const places = eye(C, on)
    .pad([0, K])
    .expand(tiles, C, C + K)
    .reshape(tiles * C, C + K)
    .slice(0, 0, T);
  const v = places
    .expand(B, T, C + K)
    .reshape(1, B * T, 1, C + K)
    .expand(1, B * T, Q, C + K);
  const starts = Array.from({ length: B * tiles }, (_, n) => Math.floor(n / tiles) * T + (n % tiles) * C);
  const initialState = eye(K, on)
    .pad([C, 0])
    .expand(B * tiles, Q, K, C + K);
  const operands = { q: packed(q), k: packed(k), v, eraseKey: packed(w), writeKey: packed(w), beta: packed(beta) };
  const options = { scale: 1, cuSeqlens: [...starts, B * T], initialState, outputFinalState: true };
  const { output, finalState } = unobserved(() =>
    withChecks(false, () => runRecurrence(name, operands, options, { eraseFrom: 'decayed', secondWrite: true })),
  );
  const [inside, queries] = split(output.reshape(B, T, Q, C + K), [C, K], 3);
  const ends = split(finalState!.reshape(B, tiles, Q, K, C + K), 1, 1).map((end) => end.squeeze(1));
  return { inside, queries, ends };
}

/** Keys [B, H, S + T, K] carried on to the end of the text: those of the past, and those of tiles, for the key heads. */
function keysAfter(past: Tensor, ends: readonly Tensor[], T: number): Tensor {
  const [B, H] = past.shape;
  const [, Q, K, width] = ends[0].shape;
  const C = width - K;
  const byKeyHead = (end: Tensor): Tensor =>
    end
      .reshape(B, H, Q / H, K, width)
      .slice(2, 0, 1)
      .squeeze(2);
  const parts: Tensor[] = [];
  let since: Tensor | null = null;
  for (let i = ends.length - 1; i >= 0; i--) {
    const end = byKeyHead(ends[i]);
    const [keys, transforms] = split(since ? since.matmul(end) : end, [C, K], 3);
    parts.unshift(keys.slice(3, 0, T - i * C).transpose(2, 3));
    since = transforms;
  }
  return cat([past.matmul(since!.transpose(2, 3)), ...parts], 2);
}

const rule = defineSequential({
  name,
  inputs: { q: 'B T Q K', k: 'B T H K', v: 'B T H V', w: 'B T H K', beta: 'B T H', gate: 'B T Q?' },
  states: { keys: 'B S H K', values: 'B S H V', decays: 'B S Q' },
  grows: true,
  options: OPTIONS,
  settings(where, options: PathOptions, { q, gate }) {
    checkLogarithm(where, 'gate', gate);
    return {
      scale: checkNumber(where, 'scale', options.scale ?? Math.max(1, q.shape[q.ndim - 1]) ** -0.5),
      gated: (gate ?? null) !== null,
    };
  },
  without: ({ gated }) => (gated ? [] : ['decays']),
  settle: checkQueryHeads,
  run({ inputs, states, settings: { scale }, sizes: { T, Q } }) {
    const repeated = (x: Tensor): Tensor => repeatHeads(x, Q);
    const { inside, queries, ends } = transport({
      q: inputs.q.mul(scale),
      k: repeated(inputs.k),
      w: repeated(inputs.w),
      beta: repeated(inputs.beta.unsqueeze(3)).squeeze(3),
    });
    const [pastKeys, pastValues] = [states.keys, states.values].map(headsFirst);
    const [insides, carried, values] = [inside, queries, inputs.v].map((x) => tilesOf(headsFirst(x), 2));
    const gates = inputs.gate ? finiteLogarithm(inputs.gate).transpose(1, 2).contiguous() : null;
    const gateTiles = gates ? tilesOf(gates.mul(scale), 2) : [];
    const decays = gates ? states.decays.transpose(1, 2) : null;
    const outputs = insides.map((scores, i) => {
      const groups = {
        inside: [scores],
        query: [carried[i]],
        ends: ends.slice(0, i),
        keys: [pastKeys],
        values: [pastValues, ...values.slice(0, i + 1)],
        gates: gateTiles.slice(0, i + 1),
        decays: decays ? [decays.mul(scale)] : [],
      };
      return inTile(groups, (tile) => {
        let [query] = tile.query;
        const C = query.shape[2];
        const own = tile.inside[0].slice(3, 0, C);
        const parts = [gates ? own : own.add(causal(own, C))];
        for (let j = i - 1; j >= 0; j--) {
          const [met, further] = split(query.matmul(tile.ends[j]), [inside.shape[3], query.shape[3]], 3);
          parts.unshift(met);
          query = further;
        }
        const found = cat([products(query, tile.keys[0]), ...parts], 3);
        const all = gates ? found.add(decayScores(tile.decays[0], tile.gates)) : found;
        return weigh(all.softmax(-1), cat(tile.values, 2)).transpose(1, 2);
      });
    });
    const after = {
      keys: keysAfter(pastKeys, ends, T).transpose(1, 2).contiguous(),
      values: cat([states.values, inputs.v], 1),
    };
    return {
      output: outputs.length === 1 ? outputs[0] : cat(outputs, 1),
      states: {
        ...after,
        ...(gates && { decays: decaysAfter(decays!, gates).transpose(1, 2).contiguous() }),
      } as typeof states,
    };
  },
});

/**
 * Softmax over s <= t of scale (q_t^T (I - beta_t w_t w_t^T) ... (I - beta_{s+1} w_{s+1} w_{s+1}^T) k_s + the sum of gate over
 * s + 1 .. t), weighing v_s: output [B, T, HQ, V]; the gate is multiplied by the scale, too, as in the published kernels.
 * q [B, T, HQ, K], k, w [B, T, H, K], v [B, T, H, V], beta [B, T, H], query head h with key head floor(h H / HQ); gate
 * [B, T, HQ], a logarithm, or none. States, which grow with the text: `keys` [B, S, H, K], carried on to its end,
 * `values` [B, S, H, V], and with a gate `decays` [B, S, HQ], the sums of gates behind each key; those of a text that begins
 * have S = 0.
 */
export const pathAttention = withQkv(name, rule, Object.keys(OPTIONS));
