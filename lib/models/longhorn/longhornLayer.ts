// The layer of Longhorn, in the layout of its authors' program (Liu et al. 2024; spec 2.13.14).
import { checkInteger, checkOptions, type OptionNames, type Tensor } from '../../core';
import { Linear, parameter, ShortConvolution } from '../../nn';
import { ones, split, TENSOR_OPTIONS, type TensorOptions, zeros } from '../../ops';
import { longhorn } from '../../rules';
import {
  checkForward,
  checkStep,
  Recurrent,
  type SequenceOptions,
  type SequenceResult,
  stateDType,
} from '../common/mixer';

/** Options of `LonghornLayer`, those that a tensor is made with among them. */
export interface LonghornLayerOptions extends TensorOptions {
  /** N, width of keys and queries; 16 by default. */
  stateSize?: number;
  /** Tokens that the convolution sees, 4 by default. */
  convSize?: number;
  /** E, channels; twice the hidden size by default. */
  innerSize?: number;
  /** Width between E channels and their strengths; hiddenSize / 16, rounded up, by default. */
  rank?: number;
}

const OPTIONS: OptionNames<LonghornLayerOptions> = {
  ...TENSOR_OPTIONS,
  stateSize: true,
  convSize: true,
  innerSize: true,
  rank: true,
};

/** The last inputs of the convolution [B, E, convSize - 1], and what the channels remember [B, E, N]. */
export type LonghornState = { convolution: Tensor; state: Tensor };

/**
 * [x, z] = in_proj(input), x through the convolution and silu; (strengths, keys, queries) = x_proj(x), the strengths through
 * dt_head; then out_proj of what `longhorn` with its diagonal approximation gives for d = D and the output gate z.
 */
export class LonghornLayer extends Recurrent<LonghornState> {
  /** To x and z, weight [2 E, hidden], no bias. */
  in_proj: Linear;
  /** Over x, weight [E, 1, convSize], bias [E]. */
  conv1d: ShortConvolution;
  /** Rows: rank of the strengths, N of the keys, N of the queries; weight [rank + 2 N, E], no bias. */
  x_proj: Linear;
  /** To the strengths before their sigmoid, weight [E, rank], bias [E]. */
  dt_head: Linear;
  /** Weight [E] of x in the output, ones at first; float32 also in a bfloat16 model. */
  D: Tensor;
  /** To the output, weight [hidden, E], no bias. */
  out_proj: Linear;
  /** N */
  readonly stateSize: number;
  /** E */
  readonly innerSize: number;
  /** Width between the channels and their strengths. */
  readonly rank: number;

  constructor(hiddenSize: number, options: LonghornLayerOptions = {}) {
    super();
    const where = 'LonghornLayer';
    checkOptions(where, options, OPTIONS);
    checkInteger(where, 'hiddenSize', hiddenSize, 1);
    const {
      stateSize = 16,
      convSize = 4,
      innerSize = 2 * hiddenSize,
      rank = Math.ceil(hiddenSize / 16),
      ...on
    } = options;
    for (const [name, size] of Object.entries({ stateSize, convSize, innerSize, rank })) {
      checkInteger(where, name, size, 1);
    }
    const plain = { bias: false, ...on };
    this.stateSize = stateSize;
    this.innerSize = innerSize;
    this.rank = rank;
    this.in_proj = new Linear(hiddenSize, 2 * innerSize, plain);
    this.conv1d = new ShortConvolution(innerSize, convSize, { bias: true, ...on });
    this.x_proj = new Linear(innerSize, rank + 2 * stateSize, plain);
    this.dt_head = new Linear(rank, innerSize, { bias: true, ...on });
    this.D = parameter(ones([innerSize], { ...on, dtype: on.dtype === 'bfloat16' ? 'float32' : on.dtype }));
    this.out_proj = new Linear(innerSize, hiddenSize, plain);
  }

  protected override get keptInFloat32(): readonly string[] {
    return ['D'];
  }

  forward(x: Tensor, options: SequenceOptions<LonghornState> = {}): SequenceResult<LonghornState> {
    checkForward(this, x, options);
    const { state = null, outputState = false, cuSeqlens = null } = options;
    const [mixed, z] = this.projected(x);
    const over = { initialState: state?.convolution, outputFinalState: true, cuSeqlens } as const;
    const convolved = this.conv1d.forward(mixed, over);
    const inputs = { ...this.operands(convolved.output, z), initialState: state?.state };
    const { output, finalState } = longhorn(inputs, { outputFinalState: true, cuSeqlens });
    const result = this.out_proj.forward(output);
    if (!outputState) return { output: result };
    return { output: result, state: { convolution: convolved.finalState, state: finalState } };
  }

  step(x: Tensor, state: LonghornState): Tensor {
    checkStep(this, x, state);
    const [mixed, z] = this.projected(x);
    const inputs = this.operands(this.conv1d.step(mixed, state.convolution), z);
    return this.out_proj.forward(longhorn.step(inputs, { state: { state: state.state } }));
  }

  initialState(batch: number): LonghornState {
    const state = zeros([batch, this.innerSize, this.stateSize], {
      device: this.in_proj.device,
      dtype: stateDType(this.in_proj),
    });
    return { convolution: this.conv1d.initialState(batch), state };
  }

  private projected(x: Tensor): Tensor[] {
    return split(this.in_proj.forward(x), [this.innerSize, this.innerSize], -1);
  }

  private operands(x: Tensor, z: Tensor): Parameters<typeof longhorn>[0] {
    const [ranked, k, q] = split(this.x_proj.forward(x), [this.rank, this.stateSize, this.stateSize], -1);
    return { x, betaLogit: this.dt_head.forward(ranked), q, k, d: this.D, z };
  }
}
