// The layer of Mamba (Gu and Dao 2023): a gated convolution and a selective scan over it.
import { checkObject, type Tensor } from '../../core';
import { noGrad } from '../../autograd';
import { Linear, parameter, ShortConvolution } from '../../nn';
import { ones, rand, split, type TensorOptions, zeros } from '../../ops';
import { selectiveScan } from '../../rules';
import { logPositions, type TimeStepRange, timeStepBias } from '../common/initialize';
import {
  checkForward,
  checkStep,
  Recurrent,
  type SequenceOptions,
  type SequenceResult,
  stateDType,
} from '../common/mixer';

/** Sizes and settings of one layer of `MambaMixer`. */
export interface MambaShape {
  /** Width of what goes into the layer and of what comes out. */
  readonly hiddenSize: number;
  /** D: channels inside the layer. */
  readonly innerSize: number;
  /** N: entries of the state for each channel. */
  readonly stateSize: number;
  /** Rank of the projection to the steps in time. */
  readonly timeStepRank: number;
  /** Tokens that the convolution sees. */
  readonly convSize: number;
  /** Whether the convolution has a bias. */
  readonly convBias: boolean;
  /** Whether the projections into the layer and out of it have biases. */
  readonly bias: boolean;
  /** New steps in time. */
  readonly newTimeSteps: TimeStepRange;
}

/** What a layer of Mamba remembers. */
export type MambaState = {
  /** [B, D, N] */
  memory: Tensor;
  /** The last inputs of the convolution [B, D, convSize - 1]. */
  convolution: Tensor;
};

/**
 * The selective state space of Gu and Dao (2023, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces"): steps in
 * time, keys and queries are functions of the convolved values, every entry of the state has a rate of decay of its own.
 */
export class MambaMixer extends Recurrent<MambaState> {
  /** Rows: values D, gate D; columns hiddenSize. */
  in_proj: Linear;
  /** Over the values, weight [D, 1, convSize], with silu. */
  conv1d: ShortConvolution;
  /** Rows: steps in time timeStepRank, keys N, queries N; no bias. */
  x_proj: Linear;
  /** To the steps in time before their softplus, weight [D, timeStepRank] and a bias. */
  dt_proj: Linear;
  /** Log of the rates of decay [D, N]; float32 also in a bfloat16 model. */
  A_log: Tensor;
  /** Weight of the values in the output [D]; ones at first. */
  D: Tensor;
  /** To the output, weight [hiddenSize, D]. */
  out_proj: Linear;

  constructor(
    /** What the layer was made with. */
    readonly shape: MambaShape,
    options: TensorOptions = {},
  ) {
    super();
    checkObject(new.target.name, 'shape', shape);
    const { hiddenSize, innerSize, stateSize, timeStepRank, convSize, convBias, bias } = shape;
    this.in_proj = new Linear(hiddenSize, 2 * innerSize, { bias, ...options });
    this.conv1d = new ShortConvolution(innerSize, convSize, { bias: convBias, ...options });
    noGrad(() => this.conv1d.bias?.fill_(0));
    this.x_proj = new Linear(innerSize, timeStepRank + 2 * stateSize, { bias: false, ...options });
    this.dt_proj = new Linear(timeStepRank, innerSize, options);
    this.A_log = logPositions([innerSize, stateSize], options);
    this.D = parameter(ones([innerSize], options));
    this.out_proj = new Linear(innerSize, hiddenSize, { bias, ...options });
  }

  protected override get keptInFloat32(): readonly string[] {
    return ['A_log'];
  }

  /** Draws the bias of the steps in time; their weight is uniform in +-`scale` / sqrt(timeStepRank), or that number. */
  initializeTimeSteps({ scale, constant }: { scale: number; constant: boolean }): void {
    const bound = scale * this.shape.timeStepRank ** -0.5;
    const { weight, bias } = this.dt_proj;
    const { dtype, device } = weight;
    const steps = timeStepBias(this.shape.innerSize, { dtype: stateDType(weight), device }, this.shape.newTimeSteps);
    noGrad(() => {
      bias!.copy_(steps.to(dtype));
      if (constant) weight.fill_(bound);
      else weight.copy_(rand(weight.shape, { dtype, device, low: -bound, high: bound }));
    });
    steps.dispose();
  }

  forward(x: Tensor, options: SequenceOptions<MambaState> = {}): SequenceResult<MambaState> {
    checkForward(this, x, options);
    const { state = null, outputState: outputFinalState = false, cuSeqlens = null } = options;
    const [mixed, z] = this.project(x);
    const before = { initialState: state?.convolution ?? null, outputFinalState, cuSeqlens };
    const { output: values, finalState: convolution } = this.conv1d.forward(mixed, before);
    const { output, finalState } = selectiveScan(
      { ...this.operands(values), initialState: state?.memory ?? null },
      { outputFinalState, cuSeqlens },
    );
    const result = this.out_proj.forward(output.mul(z.silu()));
    if (!finalState) return { output: result };
    const dtype = stateDType(this.out_proj);
    return { output: result, state: { memory: finalState.contiguous(), convolution: convolution!.to(dtype) } };
  }

  step(x: Tensor, state: MambaState): Tensor {
    checkStep(this, x, state);
    const { memory, convolution } = state;
    const [mixed, z] = this.project(x);
    const operands = this.operands(this.conv1d.step(mixed, convolution));
    return this.out_proj.forward(selectiveScan.step(operands, { state: { state: memory } }).mul(z.silu()));
  }

  initialState(batch: number): MambaState {
    const { innerSize, stateSize } = this.shape;
    const where = { device: this.out_proj.device, dtype: stateDType(this.out_proj) };
    return { memory: zeros([batch, innerSize, stateSize], where), convolution: this.conv1d.initialState(batch) };
  }

  private project(x: Tensor): Tensor[] {
    const { innerSize } = this.shape;
    return split(this.in_proj.forward(x), [innerSize, innerSize], -1);
  }

  private operands(x: Tensor): Parameters<typeof selectiveScan.step>[0] {
    const { timeStepRank, stateSize } = this.shape;
    const [rank, b, c] = split(this.x_proj.forward(x), [timeStepRank, stateSize, stateSize], -1);
    return { x, dt: this.dt_proj.forward(rank), aLog: this.A_log, b, c, d: this.D };
  }
}
