// A sparse mixture of experts in the place of a feed-forward (Shazeer et al. 2017).
import type { Tensor } from '../../core';
import { Module } from '../../nn';
import { cat, indexSelect, tensor, toFloat32 } from '../../ops';
import type { Experts } from './experts';
import { type Router } from './routing';

/** Where the rows of tokens stand once they are sorted by expert; a slot is one of the perToken places of a token. */
interface Grouping {
  /** The experts that any token goes to, ascending, and how many rows each gets. */
  experts: number[];
  counts: number[];
  /** The token of each sorted row. */
  tokens: Int32Array;
  /** The sorted row of each slot. */
  places: Int32Array;
}

/** Sorts slots by expert, those of one expert in the order of tokens. */
function group(chosen: ArrayLike<number>, numExperts: number, perToken: number): Grouping {
  const starts = new Int32Array(numExperts + 1);
  for (let slot = 0; slot < chosen.length; slot++) starts[chosen[slot] + 1]++;
  const experts: number[] = [];
  const counts: number[] = [];
  for (let expert = 0; expert < numExperts; expert++) {
    const count = starts[expert + 1];
    if (count > 0) {
      experts.push(expert);
      counts.push(count);
    }
    starts[expert + 1] += starts[expert];
  }
  const tokens = new Int32Array(chosen.length);
  const places = new Int32Array(chosen.length);
  for (let slot = 0; slot < chosen.length; slot++) {
    const place = starts[chosen[slot]]++;
    tokens[place] = Math.floor(slot / perToken);
    places[slot] = place;
  }
  return { experts, counts, tokens, places };
}

/**
 * Each token through the experts that its router chooses, weighted and added up: the rows of a batch are sorted by expert, and
 * each expert that has any computes them in one product. A token's result hangs on no other token's: rows are computed each on
 * its own, and the results of a token are added from its best expert down. The choice is read back from the device, which
 * waits for it.
 */
export class MixtureOfExperts extends Module {
  constructor(
    /** weight [numExperts, hiddenSize] */
    readonly gate: Router,
    /** One module each, or all in two weights. */
    readonly experts: Experts,
  ) {
    super();
  }

  /** What every token goes through beside its experts, [N, hiddenSize]; nothing by default. */
  protected shared(_rows: Tensor): Tensor | null {
    return null;
  }

  /** x [..., hiddenSize]; `residual` is added to the result. */
  forward(x: Tensor, residual: Tensor | null = null): Tensor {
    const width = x.shape[x.ndim - 1];
    const rows = x.reshape(x.size / width, width);
    const mixed = rows.size === 0 ? rows : this.mixed(rows);
    const shared = this.shared(rows);
    const result = (shared ? mixed.add(shared) : mixed).reshape(x.shape);
    return residual ? result.add(residual) : result;
  }

  private mixed(rows: Tensor): Tensor {
    const { experts: chosen, weights } = this.gate.route(rows);
    const { numExperts, perToken } = this.gate.routing;
    const { experts, counts, tokens, places } = group(chosen.dataSync(), numExperts, perToken);
    const index = (values: Int32Array): Tensor => tensor(values, { dtype: 'int32', device: rows.device });
    const parts = indexSelect(rows, 0, index(tokens)).split(counts, 0);
    const results = this.experts.run(experts.map((expert, i) => ({ expert, rows: parts[i] })));
    const slots = indexSelect(cat(results, 0), 0, index(places)).reshape(rows.shape[0], perToken, -1);
    return toFloat32(slots).mul(weights.unsqueeze(-1)).sum(1).to(rows.dtype);
  }
}
