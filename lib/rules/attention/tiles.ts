// Softmax attention with scores of its own making, a tile of queries at a time: scores of all queries never exist at once.
import { scope, type Tensor } from '../../core';
import { checkpoint, recording } from '../../autograd';
import { cat, full, ones, split, tril, triu, zerosBeside } from '../../ops';

/** Queries whose scores exist at once. */
export const TILE = 64;

type Groups = Readonly<Record<string, readonly Tensor[]>>;

/** Runs `fn` on groups of tensors and keeps none of what it makes on the way; recorded, it runs again in the backward pass. */
export function inTile<G extends Groups>(groups: G, fn: (groups: G) => Tensor): Tensor {
  const inputs = Object.values(groups).flat();
  const run = (...all: Tensor[]): Tensor => {
    const parts = Object.entries(groups).map(([name, list]) => [name, all.splice(0, list.length)]);
    return fn(Object.fromEntries(parts) as G);
  };
  return recording(inputs) ? checkpoint(run, ...inputs) : scope(() => run(...inputs));
}

/** [B, T, H, D] to [B, H, T, D]. */
export function headsFirst(x: Tensor): Tensor {
  return x.transpose(1, 2).contiguous();
}

/** Its tiles of tokens, along a dimension. */
export function tilesOf(x: Tensor, dim: number): Tensor[] {
  return x.shape[dim] <= TILE ? [x] : split(x, TILE, dim);
}

/** Queries [B, Q, C, K] to keys [B, H, S, K], of which query head h has head floor(h H / Q): products [B, Q, C, S]. */
export function products(q: Tensor, k: Tensor): Tensor {
  return byKeyHead(q, k.shape[1], (rows) => rows.matmul(k.transpose(2, 3)));
}

/** Weights [B, Q, C, S] of values [B, H, S, V]: sums [B, Q, C, V]. */
export function weigh(weights: Tensor, v: Tensor): Tensor {
  return byKeyHead(weights, v.shape[1], (rows) => rows.matmul(v));
}

/** Query heads that share a key head as further rows of it. */
function byKeyHead(x: Tensor, heads: number, f: (rows: Tensor) => Tensor): Tensor {
  const [B, Q, C, D] = x.shape;
  if (Q === heads) return f(x);
  const y = f(x.reshape(B, heads, (Q / heads) * C, D));
  return y.reshape(B, Q, C, y.shape[3]);
}

/** What is added to products of a tile with its own keys [C, C], so that no query sees a later one. */
export function causal(like: Tensor, C: number): Tensor {
  return triu(full([C, C], -Infinity, { dtype: like.dtype, device: like.device }), 1);
}

/** Sums of what stands behind each token up to the last: gates [B, Q, T] to [B, Q, T]. */
function sumsBehind(gates: Tensor): Tensor {
  const [B, Q, T] = gates.shape;
  const behind = gates.slice(2, 1).flip(2).cumsum(2).flip(2);
  return cat([behind, zerosBeside(gates, [B, Q, Math.min(T, 1)])], 2);
}

/** The sums of gates behind every key [B, Q, S + T], from those of the past [B, Q, S] and the gates since [B, Q, T]. */
export function decaysAfter(past: Tensor, gates: Tensor): Tensor {
  return cat([past.add(gates.sum(2, true)), sumsBehind(gates)], 2);
}

/**
 * Sums of gates between each query of a tile and each key, -Infinity for later keys: [B, Q, C, S + L + C]. `past` [B, Q, S] are
 * those behind keys of the past, `gates` those of tiles [B, Q, *] since, the last of which [B, Q, C] is that of the queries.
 * All are sums of what lies between the two, and no differences: what strong gates forgot does not round what is near.
 */
export function decayScores(past: Tensor, gates: readonly Tensor[]): Tensor {
  const own = gates[gates.length - 1];
  const C = own.shape[2];
  const before = cat([own.slice(2, 0, 0), ...gates.slice(0, -1)], 2);
  const columns = decaysAfter(past, before).unsqueeze(2);
  const rows = own.cumsum(2).unsqueeze(3);
  const behind = tril(ones([C, C], { dtype: own.dtype, device: own.device }), -1);
  const inside = own.unsqueeze(3).mul(behind).cumsum(2).add(causal(own, C));
  return cat([rows.add(columns), inside], 3);
}
