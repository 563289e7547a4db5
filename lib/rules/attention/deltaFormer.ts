// DeltaFormer: softmax attention over values that the delta rule has corrected (Xu et al. 2025; spec 2.13.12).
import { checkNumber, type Tensor } from '../../core';
import { cat, eye, full, softmaxAttention, triu, withChecks } from '../../ops';
import { unobserved } from '../observe';
import { runRecurrence } from '../recurrence/run';
import { defineSequential } from '../sequential/define';
import { withQkv } from '../sequential/qkv';
import { headsFirst, inTile, products, tilesOf, weigh } from './tiles';

/** Options of `deltaFormer`. */
export interface DeltaFormerOptions {
  /** Multiplies q . k in both softmaxes; K ** -0.5 by default. */
  scale?: number | null;
}

const name = 'deltaFormer';
const OPTIONS = { scale: true } as const;

/** Added where a query sees nothing: far below every product, and finite, for the first token has nothing to see. */
const UNSEEN = -1e30;

/**
 * Weights [B, H, C, S + C] of what stands before each query of a tile, of which the last C keys are those of the tile. Those of
 * the very first token are of tokens that are not there yet.
 */
function weightsBefore(q: Tensor, keys: Tensor): Tensor {
  const [C, S] = [q.shape[2], keys.shape[2]];
  const unseen = triu(full([C, C], UNSEEN, { dtype: q.dtype, device: q.device })).pad([S - C, 0]);
  return products(q, keys).add(unseen).softmax(-1);
}

/**
 * u_t = r_t - sum over j < t of weights[t, j] u_j for [B, H, C, V]: a recurrence whose state holds the u so far as its rows, and
 * zeros for those that are still to come.
 */
function solve(weights: Tensor, r: Tensor): Tensor {
  const [B, H, C] = r.shape;
  const places = eye(C, { dtype: r.dtype, device: r.device }).reshape(1, C, 1, C).expand(B, C, H, C);
  const operands = { q: places, k: places, v: headsFirst(r), eraseKey: headsFirst(weights) };
  const { output } = unobserved(() =>
    withChecks(false, () => runRecurrence(name, operands, { scale: 1 }, { eraseFrom: 'decayed' })),
  );
  return headsFirst(output);
}

const rule = defineSequential({
  name,
  inputs: { q: 'B T H K', k: 'B T H K', v: 'B T H V', beta: 'B T H?' },
  states: { keys: 'B S H K', values: 'B S H V' },
  grows: true,
  options: OPTIONS,
  settings: (where, options: DeltaFormerOptions, { q }) => ({
    scale: checkNumber(where, 'scale', options.scale ?? Math.max(1, q.shape[q.ndim - 1]) ** -0.5),
  }),
  run({ inputs, states, settings: { scale } }) {
    const tiles = (x: Tensor): Tensor[] => tilesOf(headsFirst(x), 2);
    const [q, k, v] = [inputs.q.mul(scale), inputs.k, inputs.v].map(tiles);
    const beta = inputs.beta ? tiles(inputs.beta.unsqueeze(3)) : null;
    const [pastKeys, pastValues] = [states.keys, states.values].map(headsFirst);
    const corrected: Tensor[] = [];
    for (const [i, query] of q.entries()) {
      const groups = {
        query: [query],
        value: [v[i]],
        beta: beta ? [beta[i]] : [],
        keys: [pastKeys, ...k.slice(0, i + 1)],
        corrected: [pastValues, ...corrected],
      };
      const u = inTile(groups, (tile) => {
        const strength = (x: Tensor): Tensor => (beta ? x.mul(tile.beta[0]) : x);
        const weights = strength(weightsBefore(tile.query[0], cat(tile.keys, 2)));
        const before = weights.shape[3] - query.shape[2];
        const known = weigh(weights.slice(3, 0, before), cat(tile.corrected, 2));
        return solve(weights.slice(3, before), tile.value[0].sub(known));
      });
      corrected.push(u);
    }
    const keys = cat([states.keys, inputs.k], 1);
    const values = cat([pastValues, ...corrected], 2)
      .transpose(1, 2)
      .contiguous();
    return { output: softmaxAttention(inputs.q, keys, values, { scale }), states: { keys, values } };
  },
});

/**
 * u_t = v_t - beta_t times the softmax over j < t of scale q_t . k_j, weighing u_j; o_t is the softmax over s <= t of
 * scale q_t . k_s, weighing u_s: output [B, T, H, V]. q, k [B, T, H, K], v [B, T, H, V], beta [B, T, H], 1 by default. States,
 * which grow with the text: `keys` k [B, S, H, K] and `values` u [B, S, H, V]; those of a text that begins have S = 0.
 */
export const deltaFormer = withQkv(name, rule, Object.keys(OPTIONS));
