// Sublayers of self-referential weight matrices (Irie, Schlag, Csordas, Schmidhuber 2022; spec 2.5).
import { argumentError, checkObject, type Tensor } from '../../core';
import { noGrad } from '../../autograd';
import { LayerNorm, Linear, parameter } from '../../nn';
import { randn, softmax } from '../../ops';
import { selfReferential } from '../../rules';
import { mergeHeads, type SequenceResult, splitHeads } from '../common/mixer';
import {
  type Arrangement,
  type MemoryOptions,
  type MemoryState,
  statesAfter,
  statesBefore,
  Sublayer,
  type SublayerOptions,
} from './sublayer';

/** Options of `SelfReferentialLayer`. */
export interface SelfReferentialLayerOptions extends SublayerOptions {
  /** 'residualNormed', the supervised code's, by default; 'none' is that of reinforcement learning. */
  arrangement?: Arrangement;
  /** Softmax of x over each head first; false by default, with `separateY` always true. */
  inputSoftmax?: boolean;
  /**
   * The read-out has an input of its own, x as it is before the softmax, and a LayerNorm behind it, as the code of
   * continual learning means it (its `no_softmax_on_y`, which hands the softmax over); false by default.
   */
  separateY?: boolean;
  /** The matrix programs a delta memory whose output it is (SR-Delta); false by default. */
  deltaMemory?: boolean;
  /** Deviation of W_q at the start, in 1 / sqrt(headDim): 0.01, of the formal-language and continual-learning code, by default; 1 in the first. */
  queryInit?: number;
  /** Mean of the strengths before their sigmoid at the start; 0 by default, -1 in the formal-language code. */
  betaInit?: number;
}

/**
 * LN(x) + out_linear(y), y [B, T, hidden] read from a matrix per head that rewrites itself; x goes into it as it is, cut into
 * heads. W_y, W_q, W_k [1, H, D, D], w_b [1, H, D, 4] are W_0, drawn with deviation 1 / sqrt(D), and the state is what W_t
 * has moved from it. INVALID_ARGUMENT for `separateY` beside `deltaMemory` or without the softmax.
 */
export class SelfReferentialLayer extends Sublayer {
  /** Columns of the read-out [1, H, D, Y]: Y = D, or with deltaMemory 3 D + 1. */
  W_y: Tensor;
  /** Columns of the query [1, H, D, D]. */
  W_q: Tensor;
  /** Columns of the key [1, H, D, D]. */
  W_k: Tensor;
  /** Columns of the strengths of y, q, k and of themselves [1, H, D, 4]. */
  w_b: Tensor;
  /** Of what each head reads, over its width; null without `separateY`. */
  y_lnorm: LayerNorm | null;
  /** From the heads to the output, weight [hidden, hidden], no bias. */
  out_linear: Linear;
  /** Whether each head's input goes through a softmax first, but for that of the read-out with `separateY`. */
  readonly inputSoftmax: boolean;
  /** Whether the matrix programs a delta memory. */
  readonly deltaMemory: boolean;

  constructor(hiddenSize: number, numHeads: number, options: SelfReferentialLayerOptions = {}) {
    checkObject(new.target.name, 'options', options);
    const { arrangement = 'residualNormed', separateY = false, deltaMemory = false, ...rest } = options;
    const { inputSoftmax = separateY, queryInit = 0.01, betaInit = 0, dropout, normEps = 1e-5, ...where } = rest;
    super(hiddenSize, numHeads, arrangement, { dropout, normEps, ...where });
    if (separateY && (deltaMemory || !inputSoftmax)) {
      const expected = deltaMemory ? 'false with deltaMemory' : 'false without inputSoftmax';
      throw argumentError('INVALID_ARGUMENT', 'SelfReferentialLayer', 'separateY', expected, 'true');
    }
    this.inputSoftmax = inputSoftmax;
    this.deltaMemory = deltaMemory;
    const D = this.headDim;
    const draw = (columns: number, scale: number, mean = 0): Tensor =>
      parameter(noGrad(() => randn([1, numHeads, D, columns], { std: scale * D ** -0.5, mean, ...where })));
    this.W_y = draw(deltaMemory ? 3 * D + 1 : D, 1);
    this.W_q = draw(D, queryInit);
    this.W_k = draw(D, 1);
    this.w_b = draw(4, 1, betaInit);
    this.y_lnorm = separateY ? new LayerNorm(D, { eps: normEps, ...where }) : null;
    this.out_linear = new Linear(hiddenSize, hiddenSize, { bias: false, ...where });
  }

  protected get reference(): Tensor {
    return this.W_y;
  }

  protected get stateShapes(): Record<string, readonly number[]> {
    const { numHeads: H, headDim: D, deltaMemory } = this;
    const shifts = { shiftY: [H, D, this.W_y.shape[3]], shiftQ: [H, D, D], shiftK: [H, D, D], shiftB: [H, D, 4] };
    return deltaMemory ? { ...shifts, state: [H, D, D] } : shifts;
  }

  private operands(x: Tensor): [inputs: Parameters<typeof selfReferential>[0], options: object] {
    const [wY, wQ, wK, wB] = [this.W_y, this.W_q, this.W_k, this.w_b].map((w) => w.squeeze(0));
    const { inputSoftmax, deltaMemory } = this;
    const heads = splitHeads(x, this.numHeads);
    const variant = this.y_lnorm ? 'separateY' : deltaMemory ? 'smfwp' : 'srwm';
    const inputs = { x: heads, inputY: this.y_lnorm && heads, wY, wQ, wK, wB };
    return [inputs, { variant, inputSoftmax, deltaMemory }];
  }

  private output(read: Tensor): Tensor {
    return this.out_linear.forward(mergeHeads(this.y_lnorm?.forward(read) ?? read));
  }

  protected memory(x: Tensor, { state, outputState, cuSeqlens }: MemoryOptions): SequenceResult<MemoryState> {
    const [inputs, options] = this.operands(x);
    const { state: memory, ...shifts } = state ?? {};
    const before = { ...shifts, ...(memory && statesBefore({ state: memory })) };
    const result = selfReferential({ ...inputs, ...before }, { ...options, cuSeqlens, outputFinalState: outputState });
    const output = this.output(result.output);
    return outputState ? { output, state: statesAfter(result) } : { output };
  }

  protected override memoryStep(x: Tensor, state: MemoryState): Tensor {
    const [inputs, options] = this.operands(x);
    return this.output(selfReferential.step(inputs, { ...options, state: state }));
  }
}

/** The control without self-modification (Fake-SR): out_linear(W_y^T x) per head, with W_y [H, D, D]. */
export class FakeSelfReferentialLayer extends Sublayer {
  /** [H, D, D], drawn with deviation 1 / sqrt(D). */
  W_y: Tensor;
  /** From the heads to the output, weight [hidden, hidden], no bias. */
  out_linear: Linear;
  /** Whether each head's input goes through a softmax first. */
  readonly inputSoftmax: boolean;

  constructor(
    hiddenSize: number,
    numHeads: number,
    options: Pick<SelfReferentialLayerOptions, 'arrangement' | 'inputSoftmax' | keyof SublayerOptions> = {},
  ) {
    checkObject(new.target.name, 'options', options);
    const { arrangement = 'none', inputSoftmax = false, dropout, normEps, ...where } = options;
    super(hiddenSize, numHeads, arrangement, { dropout, normEps, ...where });
    this.inputSoftmax = inputSoftmax;
    const D = this.headDim;
    this.W_y = parameter(noGrad(() => randn([numHeads, D, D], { std: D ** -0.5, ...where })));
    this.out_linear = new Linear(hiddenSize, hiddenSize, { bias: false, ...where });
  }

  protected get reference(): Tensor {
    return this.W_y;
  }

  protected get stateShapes(): Record<string, readonly number[]> {
    return {};
  }

  protected memory(x: Tensor, { outputState }: MemoryOptions): SequenceResult<MemoryState> {
    const output = this.memoryStep(x);
    return outputState ? { output, state: {} } : { output };
  }

  protected override memoryStep(x: Tensor): Tensor {
    const heads = splitHeads(x, this.numHeads);
    const input = this.inputSoftmax ? softmax(heads, -1) : heads;
    return this.out_linear.forward(mergeHeads(input.unsqueeze(-2).matmul(this.W_y).squeeze(-2)));
  }
}
