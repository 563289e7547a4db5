// Forgetting attention: softmax attention that a gate makes forget (Lin et al. 2025; spec 2.13.20).
import { argumentError, checkInteger, checkNumber, type Tensor } from '../../core';
import { cat, tensor } from '../../ops';
import { checkLogarithm } from '../recurrence/checks';
import { finiteLogarithm } from '../recurrence/logarithms';
import { defineSequential } from '../sequential/define';
import { withQkv } from '../sequential/qkv';
import type { Sizes } from '../sequential/shapes';
import { decaysAfter, decayScores, headsFirst, inTile, products, TILE, tilesOf, weigh } from './tiles';

/** Options of `forgettingAttention`. */
export interface ForgettingOptions {
  /** Multiplies q . k, not the gates; K ** -0.5 by default. */
  scale?: number | null;
  /** A token sees itself and the windowSize - 1 before it; all before it by default. */
  windowSize?: number | null;
}

const name = 'forgettingAttention';
const OPTIONS = { scale: true, windowSize: true } as const;

/** Requires query heads that share key heads evenly. */
export function checkQueryHeads(where: string, { H, Q, K }: Sizes): void {
  if (H > 0 && Q % H === 0) return;
  throw argumentError('SHAPE', where, 'k', `[..., a divisor of ${Q}, ${K}] (heads, key width)`, `[..., ${H}, ${K}]`);
}

/** 0 where one of the last `rows` of `columns` positions sees another, else -Infinity: [rows, columns]. */
function windowed(like: Tensor, rows: number, columns: number, window: number): Tensor {
  const mask = new Float32Array(rows * columns);
  for (let i = 0; i < rows; i++) {
    const hidden = Math.max(0, columns - rows + i + 1 - window);
    mask.fill(-Infinity, i * columns, i * columns + hidden);
  }
  return tensor(mask, { shape: [rows, columns], dtype: like.dtype, device: like.device });
}

const rule = defineSequential({
  name,
  inputs: { q: 'B T Q K', k: 'B T H K', v: 'B T H V', gate: 'B T Q' },
  states: { keys: 'B S H K', values: 'B S H V', decays: 'B S Q' },
  grows: true,
  options: OPTIONS,
  settings(where, options: ForgettingOptions, { q, gate }) {
    checkLogarithm(where, 'gate', gate);
    return {
      scale: checkNumber(where, 'scale', options.scale ?? Math.max(1, q.shape[q.ndim - 1]) ** -0.5),
      window: options.windowSize == null ? Infinity : checkInteger(where, 'windowSize', options.windowSize, 1),
    };
  },
  settle: checkQueryHeads,
  run({ inputs, states, settings: { scale, window } }) {
    const S = states.keys.shape[1];
    const past = [states.keys, states.values].map(headsFirst);
    const decays = states.decays.transpose(1, 2);
    const gates = finiteLogarithm(inputs.gate).transpose(1, 2).contiguous();
    const [q, k, v] = [inputs.q.mul(scale), inputs.k, inputs.v].map((x) => tilesOf(headsFirst(x), 2));
    const gateTiles = tilesOf(gates, 2);
    const outputs = q.map((query, i) => {
      const C = query.shape[2];
      // The first tile that a query sees something of, and how much of the past.
      const first = Math.max(0, Math.ceil((i * TILE + 2 - window) / TILE) - 1);
      const seen = Math.min(S, Math.max(0, window - 1 - i * TILE));
      const recent = (x: Tensor): Tensor => x.slice(2, S - seen);
      const groups = {
        query: [query],
        keys: [recent(past[0]), ...k.slice(first, i + 1)],
        values: [recent(past[1]), ...v.slice(first, i + 1)],
        gates: gateTiles.slice(first, i + 1),
        decays: [recent(decays)],
      };
      return inTile(groups, (tile) => {
        const scores = products(tile.query[0], cat(tile.keys, 2)).add(decayScores(tile.decays[0], tile.gates));
        const visible = window < Infinity ? scores.add(windowed(scores, C, scores.shape[3], window)) : scores;
        return weigh(visible.softmax(-1), cat(tile.values, 2)).transpose(1, 2);
      });
    });
    const kept = (x: Tensor): Tensor => x.slice(1, Math.max(0, x.shape[1] - (window - 1)));
    return {
      output: outputs.length === 1 ? outputs[0] : cat(outputs, 1),
      states: {
        keys: kept(cat([states.keys, inputs.k], 1)),
        values: kept(cat([states.values, inputs.v], 1)),
        decays: kept(decaysAfter(decays, gates).transpose(1, 2).contiguous()),
      },
    };
  },
});

/**
 * Softmax over s <= t of scale q_t . k_s + the sum of gate over s + 1 .. t, weighing v_s: output [B, T, HQ, V]. q [B, T, HQ, K],
 * k [B, T, H, K], v [B, T, H, V], query head h with key head floor(h H / HQ); gate [B, T, HQ], a logarithm. States, which grow
 * with the text up to the window: `keys` [B, S, H, K], `values` [B, S, H, V], and `decays` [B, S, HQ], the sums of gates behind
 * each key; those of a text that begins have S = 0.
 */
export const forgettingAttention = withQkv(name, rule, Object.keys(OPTIONS));
