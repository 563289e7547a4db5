// The layer of Mamba-3 with one input and one output (Lahoti et al. 2026): no convolution, keys and queries that are normed and
// turn by learned angles.
import { checkObject, argumentError, type Tensor } from '../../core';
import { GatedRMSNorm, Linear, parameter, RMSNorm } from '../../nn';
import { ones, split, type TensorOptions, toFloat32, zeros } from '../../ops';
import { mamba3Scan } from '../../rules';
import { type TimeStepRange, timeStepBias } from '../common/initialize';
import {
  checkForward,
  checkStep,
  mergeHeads,
  Recurrent,
  type SequenceOptions,
  type SequenceResult,
  splitHeads,
  stateDType,
} from '../common/mixer';

/** Sizes and settings of one layer of `Mamba3Mixer`. */
export interface Mamba3Shape {
  /** Width of what goes into the layer and of what comes out. */
  readonly hiddenSize: number;
  /** H */
  readonly numHeads: number;
  /** V: values of a head; H V is the width inside the layer. */
  readonly headDim: number;
  /** K: keys of a head. */
  readonly stateSize: number;
  /** G, a divisor of H: head h has the keys and queries of group floor(h G / H). */
  readonly numGroups: number;
  /** R: pairs of coordinates of a key that turn, at most K / 2. */
  readonly numAngles: number;
  /** The least rate of decay. */
  readonly leastRate: number;
  /** Added to the mean square in the norms of keys, queries and output. */
  readonly normEps: number;
  /** Whether the output of each head has a norm in front of its gate. */
  readonly outputNorm: boolean;
  /** Whether the projections into the layer and out of it have biases. */
  readonly bias: boolean;
  /** New steps in time. */
  readonly newTimeSteps: TimeStepRange;
}

/** What a layer of Mamba-3 remembers. */
export type Mamba3State = {
  /** [B, H, K, V] */
  memory: Tensor;
  /** The last key, turned [B, H, K]. */
  key: Tensor;
  /** The last value [B, H, V]. */
  value: Tensor;
  /** How far keys have turned [B, H, R]. */
  angle: Tensor;
};

type Inputs = Parameters<typeof mamba3Scan.step>[0];

/**
 * Fast weights that the trapezoidal rule writes, a token together with the one before it (Lahoti et al. 2026, "Mamba-3", arXiv
 * 2603.15569): decays, steps in time and the share of the present token depend on the token; output gated by silu.
 */
export class Mamba3Mixer extends Recurrent<Mamba3State> {
  /** Rows: gate H V, values H V, keys G K, queries G K, steps, rates and shares H each, angles R; columns hiddenSize. */
  in_proj: Linear;
  /** Added to the steps in time before their softplus [H]; float32 also in a bfloat16 model. */
  dt_bias: Tensor;
  /** Added to the normed keys [H, 1, K]; ones at first. */
  B_bias: Tensor;
  /** Added to the normed queries [H, 1, K]; ones at first. */
  C_bias: Tensor;
  /** Of the keys, weight [K]. */
  B_norm: RMSNorm;
  /** Of the queries, weight [K]. */
  C_norm: RMSNorm;
  /** Weight of the values in the output [H]; ones at first. */
  D: Tensor;
  /** Of each head's output, weight [H V]; null without `outputNorm`. */
  norm: GatedRMSNorm | null;
  /** From the heads to the output, weight [hiddenSize, H V]. */
  out_proj: Linear;

  constructor(
    /** What the layer was made with. */
    readonly shape: Mamba3Shape,
    options: TensorOptions = {},
  ) {
    super();
    checkObject(new.target.name, 'shape', shape);
    const { hiddenSize, numHeads, headDim, stateSize, numGroups, numAngles, normEps: eps, bias } = shape;
    if (2 * numAngles > stateSize) {
      const expected = `at most ${stateSize >> 1}, half of the state`;
      throw argumentError('INVALID_ARGUMENT', 'Mamba3Mixer', 'numAngles', expected, String(numAngles));
    }
    const inner = numHeads * headDim;
    const rows = 2 * inner + 2 * numGroups * stateSize + 3 * numHeads + numAngles;
    this.in_proj = new Linear(hiddenSize, rows, { bias, ...options });
    this.dt_bias = timeStepBias(numHeads, options, shape.newTimeSteps);
    this.B_bias = parameter(ones([numHeads, 1, stateSize], options));
    this.C_bias = parameter(ones([numHeads, 1, stateSize], options));
    this.B_norm = new RMSNorm(stateSize, { eps, ...options });
    this.C_norm = new RMSNorm(stateSize, { eps, ...options });
    this.D = parameter(ones([numHeads], options));
    this.norm = shape.outputNorm ? new GatedRMSNorm(inner, { eps, groupSize: headDim, ...options }) : null;
    this.out_proj = new Linear(inner, hiddenSize, { bias, ...options });
  }

  protected override get keptInFloat32(): readonly string[] {
    return ['dt_bias'];
  }

  forward(x: Tensor, options: SequenceOptions<Mamba3State> = {}): SequenceResult<Mamba3State> {
    checkForward(this, x, options);
    const { state = null, outputState: outputFinalState = false, cuSeqlens = null } = options;
    const { z, inputs } = this.project(x);
    const before = state && {
      initialState: state.memory,
      initialKey: state.key,
      initialValue: state.value,
      initialAngle: state.angle,
    };
    const result = mamba3Scan({ ...inputs, ...before }, { outputFinalState, cuSeqlens });
    const output = this.readout(result.output, z);
    if (!outputFinalState) return { output };
    const { finalState, finalKey, finalValue, finalAngle } = result;
    const [memory, key, value, angle] = [finalState!, finalKey!, finalValue!, finalAngle!].map((t) => t.contiguous());
    return { output, state: { memory, key, value, angle } };
  }

  step(x: Tensor, state: Mamba3State): Tensor {
    checkStep(this, x, state);
    const { memory, key, value, angle } = state;
    const { z, inputs } = this.project(x);
    return this.readout(mamba3Scan.step(inputs, { state: { state: memory, key, value, angle } }), z);
  }

  initialState(batch: number): Mamba3State {
    const { numHeads, headDim, stateSize, numAngles } = this.shape;
    const { weight } = this.out_proj;
    const where = { device: weight.device, dtype: stateDType(weight) };
    return {
      memory: zeros([batch, numHeads, stateSize, headDim], where),
      key: zeros([batch, numHeads, stateSize], where),
      value: zeros([batch, numHeads, headDim], where),
      angle: zeros([batch, numHeads, numAngles], where),
    };
  }

  /** x [..., hiddenSize] to the output gate [..., H V] and what the scan takes. */
  private project(x: Tensor): { z: Tensor; inputs: Inputs } {
    const { numHeads, headDim, stateSize, numGroups, numAngles, leastRate } = this.shape;
    const [inner, keys] = [numHeads * headDim, numGroups * stateSize];
    const sizes = [inner, inner, keys, keys, numHeads, numHeads, numHeads, numAngles];
    const [z, values, b, c, steps, rates, trap, angles] = split(this.in_proj.forward(x), sizes, -1);
    const dt = toFloat32(steps).add(toFloat32(this.dt_bias)).softplus();
    const rate = toFloat32(rates).softplus().clamp(leastRate);
    return {
      z,
      inputs: {
        x: splitHeads(values, numHeads),
        dt,
        gate: rate.mul(dt).neg(),
        trap,
        angles: angles.unsqueeze(-2).expand([...angles.shape.slice(0, -1), numHeads, numAngles]),
        b: this.B_norm.forward(splitHeads(b, numGroups)),
        c: this.C_norm.forward(splitHeads(c, numGroups)),
        bBias: this.B_bias.squeeze(1),
        cBias: this.C_bias.squeeze(1),
        d: this.D,
      },
    };
  }

  private readout(output: Tensor, z: Tensor): Tensor {
    const y = mergeHeads(output);
    return this.out_proj.forward(this.norm ? this.norm.forward(y, z) : y.mul(z.silu()));
  }
}
