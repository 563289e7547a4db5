// DeltaNet whose slow net is an LSTM (Irie, Schlag, Csordas, Schmidhuber 2021; spec 2.4.6).
import { checkObject, type Tensor } from '../../core';
import { Linear, LSTM } from '../../nn';
import { featureMap, split } from '../../ops';
import { deltaRule } from '../../rules';
import { type Placed, mergeHeads, type SequenceResult, splitHeads } from '../common/mixer';
import type { RecurrentLayerOptions } from './recurrentLayers';
import { type MemoryOptions, type MemoryState, Sublayer } from './sublayer';

/**
 * An LSTM gives queries, keys, values and strengths, head after head, of a delta rule on elu + 1 features of sum 1.
 */
export class SlowLstmLayer extends Sublayer {
  /** From x to the inputs of the rule, of width H (3 headDim + 1). */
  slow_net: LSTM;
  /** From the heads to the output, weight [hidden, hidden], no bias. */
  out_linear: Linear;
  private readonly scale: number;

  constructor(hiddenSize: number, numHeads: number, options: RecurrentLayerOptions = {}) {
    checkObject(new.target.name, 'options', options);
    const { arrangement = 'pre', scale = 1, dropout, normEps, ...where } = options;
    super(hiddenSize, numHeads, arrangement, { dropout, normEps, ...where });
    this.scale = scale;
    this.slow_net = new LSTM(hiddenSize, numHeads * (3 * this.headDim + 1), where);
    this.out_linear = new Linear(hiddenSize, hiddenSize, { bias: false, ...where });
  }

  protected get reference(): Placed {
    return this.out_linear;
  }

  protected get stateShapes(): Record<string, readonly number[]> {
    const { numHeads: H, headDim: D } = this;
    const slow = [H * (3 * D + 1)];
    return { state: [H, D, D], hidden: slow, cell: slow };
  }

  protected memory(x: Tensor, { state, outputState, cuSeqlens }: MemoryOptions): SequenceResult<MemoryState> {
    const { numHeads, headDim: D, scale } = this;
    const before = state ? { hidden: state.hidden.unsqueeze(0), cell: state.cell.unsqueeze(0) } : null;
    const slow = this.slow_net.forward(x, { state: before, outputState, cuSeqlens });
    const [q, k, v, beta] = split(splitHeads(slow.output, numHeads), [D, D, D, 1], 3);
    const phi = (t: Tensor): Tensor => featureMap(t, { featureMap: 'elu1', sumNorm: true });
    const result = deltaRule(phi(q), phi(k), v, {
      beta: beta.squeeze(3).sigmoid(),
      scale,
      initialState: state?.state ?? null,
      outputFinalState: outputState,
      cuSeqlens,
    });
    const output = this.out_linear.forward(mergeHeads(result.output));
    if (!result.finalState || !slow.state) return { output };
    const { hidden, cell } = slow.state;
    const after = { state: result.finalState.contiguous(), hidden: hidden.squeeze(0), cell: cell.squeeze(0) };
    return { output, state: after };
  }
}
