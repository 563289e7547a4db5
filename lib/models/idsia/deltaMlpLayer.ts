// The Delta MLP: a deep fast net of residual feed-forward blocks (Irie, Schlag, Csordas, Schmidhuber 2021; spec 2.4.4).
import { checkInteger, checkObject, type Tensor } from '../../core';
import { LayerNorm, Linear } from '../../nn';
import { featureMap, split } from '../../ops';
import { deltaRule } from '../../rules';
import { type Placed, mergeHeads, type SequenceResult, splitHeads } from '../common/mixer';
import type { RecurrentLayerOptions } from './recurrentLayers';
import { type MemoryOptions, type MemoryState, Sublayer } from './sublayer';

/** Options of `DeltaMlpLayer`. */
export interface DeltaMlpLayerOptions extends Omit<RecurrentLayerOptions, 'scale'> {
  /** K, the blocks of the fast net: 1 by default. */
  depth?: number;
}

/** The inner width of the fast net over headDim. */
const WIDER = 4;

/**
 * u <- u + W2 phi(W1 phi(LN(u))) for every block, phi elu + 1 over its sum, W1 [D, 4 D] and W2 [4 D, D] programmed by the delta
 * rule; u is the query at first and the output at last. The state holds them as up0, down0, up1 and so on. As in the published
 * program the slow net gives twice the keys and values that are used.
 */
export class DeltaMlpLayer extends Sublayer {
  /** From x to queries, keys, values and strengths, see `memory`; no bias. */
  slow_net: Linear;
  /** From the heads to the output, weight [hidden, hidden], no bias. */
  out_linear: Linear;
  /** One for each block, of width headDim, for all heads. */
  fast_net_layer_norms: LayerNorm[];

  constructor(hiddenSize: number, numHeads: number, options: DeltaMlpLayerOptions = {}) {
    checkObject(new.target.name, 'options', options);
    const { arrangement = 'pre', depth = 1, dropout, normEps, ...where } = options;
    checkInteger('DeltaMlpLayer', 'depth', depth, 1);
    super(hiddenSize, numHeads, arrangement, { dropout, normEps, ...where });
    const D = this.headDim;
    const rows = numHeads * (D + 4 * depth * (1 + WIDER) * D + 2 * depth);
    this.slow_net = new Linear(hiddenSize, rows, { bias: false, ...where });
    this.out_linear = new Linear(hiddenSize, hiddenSize, { bias: false, ...where });
    this.fast_net_layer_norms = Array.from({ length: depth }, () => new LayerNorm(D, { eps: normEps, ...where }));
  }

  protected get reference(): Placed {
    return this.out_linear;
  }

  protected get stateShapes(): Record<string, readonly number[]> {
    const { numHeads: H, headDim: D } = this;
    const matrices = this.fast_net_layer_norms.flatMap((_, i): [string, number[]][] => [
      [`up${i}`, [H, D, WIDER * D]],
      [`down${i}`, [H, WIDER * D, D]],
    ]);
    return Object.fromEntries(matrices);
  }

  protected memory(x: Tensor, { state, outputState, cuSeqlens }: MemoryOptions): SequenceResult<MemoryState> {
    const { numHeads: H, headDim: D } = this;
    const depth = this.fast_net_layer_norms.length;
    const wide = WIDER * D;
    const used = depth * (D + wide);
    // The queries of all heads; keys and values head after head, of which the first halves are used; the strengths.
    const parts = split(this.slow_net.forward(x), [H * D, H * 4 * used, H * 2 * depth], 2);
    const [queries, pairs, strengths] = parts.map((part) => splitHeads(part, H));
    const [keys, , values] = split(pairs, [used, used, used, used], 3);
    const widths = (first: number, second: number): number[] =>
      this.fast_net_layer_norms.flatMap(() => [first, second]);
    const [keysOf, valuesOf] = [split(keys, widths(D, wide), 3), split(values, widths(wide, D), 3)];
    const betas = split(strengths.sigmoid(), widths(1, 1), 3).map((beta) => beta.squeeze(3));
    const phi = (t: Tensor): Tensor => featureMap(t, { featureMap: 'elu1', sumNorm: true, sumNormEps: 1e-5 });
    const after: MemoryState = {};
    const through = (name: string, at: number, input: Tensor): Tensor => {
      const { output, finalState } = deltaRule(phi(input), phi(keysOf[at]), valuesOf[at], {
        beta: betas[at],
        scale: 1,
        initialState: state?.[name] ?? null,
        outputFinalState: outputState,
        cuSeqlens,
      });
      if (finalState) after[name] = finalState.contiguous();
      return output;
    };
    let u = queries;
    this.fast_net_layer_norms.forEach((norm, i) => {
      const hidden = through(`up${i}`, 2 * i, norm.forward(u));
      u = u.add(through(`down${i}`, 2 * i + 1, hidden));
    });
    const output = this.out_linear.forward(mergeHeads(u));
    return outputState ? { output, state: after } : { output };
  }
}
