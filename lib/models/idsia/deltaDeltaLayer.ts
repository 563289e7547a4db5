// The Delta-Delta Net: a fast net that programs another (Irie, Schlag, Csordas, Schmidhuber 2021; spec 2.4.5).
import { checkObject, type Tensor } from '../../core';
import { parameter } from '../../nn';
import { featureMap, rand, split, type TensorOptions } from '../../ops';
import { deltaRule } from '../../rules';
import { Linear } from '../../nn';
import { type Placed, mergeHeads, type SequenceResult, splitHeads } from '../common/mixer';
import type { RecurrentLayerOptions } from './recurrentLayers';
import { type MemoryOptions, type MemoryState, Sublayer } from './sublayer';

/** Options of `DeltaDeltaLayer`. */
export interface DeltaDeltaLayerOptions extends Omit<RecurrentLayerOptions, 'scale'> {
  /** Whether the slower fast weights start from weights of the layer; false by default. */
  baseWeights?: boolean;
}

/**
 * The slow net programs F [D, 3 D + 1] by the delta rule; what a query reads from F is query, key, value and strength of a
 * second delta rule, whose W [D, D] gives the output. The state holds F as `state` and W as `fastState`. The published program
 * computes no gradient of the base weights: they are frozen, until `requiresGrad` is set.
 */
export class DeltaDeltaLayer extends Sublayer {
  /** Per head query, key, value of width 3 D + 1 and strength: weight [H (5 D + 2), hidden], no bias. */
  slow_net: Linear;
  /** From the heads to the output, weight [hidden, hidden], no bias. */
  out_linear: Linear;
  /** Where F starts [H, D, 3 D + 1], uniform in [1, 2); null without `baseWeights`. */
  fast_net_slow_weights: Tensor | null;

  constructor(hiddenSize: number, numHeads: number, options: DeltaDeltaLayerOptions = {}) {
    checkObject(new.target.name, 'options', options);
    const { arrangement = 'pre', baseWeights = false, dropout, normEps, ...where } = options;
    super(hiddenSize, numHeads, arrangement, { dropout, normEps, ...where });
    const D = this.headDim;
    this.slow_net = new Linear(hiddenSize, numHeads * (5 * D + 2), { bias: false, ...where });
    this.out_linear = new Linear(hiddenSize, hiddenSize, { bias: false, ...where });
    this.fast_net_slow_weights = baseWeights ? this.drawBase(where) : null;
  }

  protected get reference(): Placed {
    return this.out_linear;
  }

  protected get stateShapes(): Record<string, readonly number[]> {
    const { numHeads: H, headDim: D } = this;
    return { state: [H, D, 3 * D + 1], fastState: [H, D, D] };
  }

  override initialState(batch: number): MemoryState {
    const states = super.initialState(batch);
    const base = this.base(batch);
    return base ? { ...states, state: base.to(states.state.dtype).detach().clone() } : states;
  }

  protected memory(x: Tensor, { state, outputState, cuSeqlens }: MemoryOptions): SequenceResult<MemoryState> {
    const { numHeads, headDim: D } = this;
    const phi = (t: Tensor): Tensor => featureMap(t, { featureMap: 'elu1', sumNorm: true, sumNormEps: 1e-5 });
    const common = { outputFinalState: outputState, cuSeqlens, scale: 1 };
    const sequences = cuSeqlens ? cuSeqlens.length - 1 : x.shape[0];
    const program = (parts: Tensor[], initialState: Tensor | null): ReturnType<typeof deltaRule> => {
      const [q, k, v, beta] = parts;
      return deltaRule(phi(q), phi(k), v, { ...common, beta: beta.squeeze(3).sigmoid(), initialState });
    };
    const slow = split(splitHeads(this.slow_net.forward(x), numHeads), [D, D, 3 * D + 1, 1], 3);
    const slower = program(slow, state?.state ?? this.base(sequences));
    const faster = program(split(slower.output, [D, D, D, 1], 3), state?.fastState ?? null);
    const output = this.out_linear.forward(mergeHeads(faster.output));
    if (!slower.finalState || !faster.finalState) return { output };
    return { output, state: { state: slower.finalState.contiguous(), fastState: faster.finalState.contiguous() } };
  }

  /** The base weights for each of some sequences. */
  private base(sequences: number): Tensor | null {
    const { fast_net_slow_weights: weights } = this;
    return (
      weights &&
      weights
        .unsqueeze(0)
        .expand(sequences, ...weights.shape)
        .contiguous()
    );
  }

  private drawBase(where: TensorOptions): Tensor {
    const { numHeads: H, headDim: D } = this;
    const weights = parameter(rand([H, D, 3 * D + 1], { ...where, low: 1, high: 2 }));
    weights.requiresGrad = false;
    return weights;
  }
}
