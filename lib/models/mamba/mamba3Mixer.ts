// The layer of Mamba-3, of one input and output a head or several (Lahoti et al. 2026): no convolution, keys and queries that
// are normed and turn by learned angles.
import { checkObject, argumentError, type Tensor } from '../../core';
import { GatedRMSNorm, Linear, parameter, RMSNorm } from '../../nn';
import { full, ones, split, type TensorOptions, toFloat32, zeros } from '../../ops';
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
  /**
   * M: inputs and outputs of a head, its values and its gate times learned weights, each with keys and queries of its own; K is
   * even then. null: the values and the gate themselves.
   */
  readonly mimoRank: number | null;
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

/** What a layer of Mamba-3 remembers. With M inputs, coordinate i of a key stands beside i + K / 2, with which it turns. */
export type Mamba3State = {
  /** [B, H, K, V] */
  memory: Tensor;
  /** The last key, turned [B, H, K]; the last M of them [B, H, M, K]. */
  key: Tensor;
  /** The last value [B, H, V]; the last M inputs [B, H, M, V]. */
  value: Tensor;
  /** How far keys have turned [B, H, R, 2], see `mamba3Scan`. */
  angle: Tensor;
};

type Inputs = Parameters<typeof mamba3Scan.step>[0];

/** Coordinates i and i + K / 2 of t [..., K] beside each other, in the order in which the scan turns pairs. */
const paired = (t: Tensor): Tensor => mergeHeads(splitHeads(t, 2).transpose(-2, -1));

/**
 * Fast weights that the trapezoidal rule writes, a token together with the one before it (Lahoti et al. 2026, "Mamba-3", arXiv
 * 2603.15569): decays, steps in time and the share of the present token depend on the token; output gated by silu. With M inputs
 * and outputs a head writes the sum of M outer products and is read M times.
 */
export class Mamba3Mixer extends Recurrent<Mamba3State> {
  /** Rows: gate H V, values H V, keys M G K, queries M G K, steps, rates and shares H each, angles R; columns hiddenSize. */
  in_proj: Linear;
  /** Added to the steps in time before their softplus [H]; float32 also in a bfloat16 model. */
  dt_bias: Tensor;
  /** Added to the normed keys [H, M, K], M = 1 with one input; ones at first. */
  B_bias: Tensor;
  /** Added to the normed queries [H, M, K]; ones at first. */
  C_bias: Tensor;
  /** Of the keys, weight [K]. */
  B_norm: RMSNorm;
  /** Of the queries, weight [K]. */
  C_norm: RMSNorm;
  /** Times the values, the M inputs [H, M, V]; 1 / M at first; null with one input. */
  mimo_x: Tensor | null;
  /** Times the gate's values, the M gates of outputs [H, M, V]; ones at first; null with one input. */
  mimo_z: Tensor | null;
  /** Weights of the sum of M gated outputs [H, M, V]; 1 / M at first; null with one input. */
  mimo_o: Tensor | null;
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
    const { hiddenSize, numHeads, headDim, stateSize, numGroups, numAngles, mimoRank, normEps: eps, bias } = shape;
    if (2 * numAngles > stateSize) {
      const expected = `at most ${stateSize >> 1}, half of the state`;
      throw argumentError('INVALID_ARGUMENT', 'Mamba3Mixer', 'numAngles', expected, String(numAngles));
    }
    if (mimoRank !== null && stateSize % 2 !== 0) {
      throw argumentError('INVALID_ARGUMENT', 'Mamba3Mixer', 'stateSize', 'even with mimoRank', String(stateSize));
    }
    const inner = numHeads * headDim;
    const rank = mimoRank ?? 1;
    const rows = 2 * inner + 2 * rank * numGroups * stateSize + 3 * numHeads + numAngles;
    this.in_proj = new Linear(hiddenSize, rows, { bias, ...options });
    this.dt_bias = timeStepBias(numHeads, options, shape.newTimeSteps);
    this.B_bias = parameter(ones([numHeads, rank, stateSize], options));
    this.C_bias = parameter(ones([numHeads, rank, stateSize], options));
    this.B_norm = new RMSNorm(stateSize, { eps, ...options });
    this.C_norm = new RMSNorm(stateSize, { eps, ...options });
    const perInput = (by: number): Tensor | null =>
      mimoRank === null ? null : parameter(full([numHeads, mimoRank, headDim], by, options));
    this.mimo_x = perInput(1 / rank);
    this.mimo_z = perInput(1);
    this.mimo_o = perInput(1 / rank);
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
    const { numHeads, headDim, stateSize, numAngles, mimoRank } = this.shape;
    const several = mimoRank === null ? [] : [mimoRank];
    const where = { device: this.out_proj.device, dtype: stateDType(this.out_proj) };
    return {
      memory: zeros([batch, numHeads, stateSize, headDim], where),
      key: zeros([batch, numHeads, ...several, stateSize], where),
      value: zeros([batch, numHeads, ...several, headDim], where),
      angle: zeros([batch, numHeads, numAngles, 2], where),
    };
  }

  /** x [..., hiddenSize] to the output gate [..., H V] and what the scan takes. */
  private project(x: Tensor): { z: Tensor; inputs: Inputs } {
    const { numHeads, headDim, stateSize, numGroups, numAngles, leastRate, mimoRank } = this.shape;
    const [inner, keys] = [numHeads * headDim, (mimoRank ?? 1) * numGroups * stateSize];
    const sizes = [inner, inner, keys, keys, numHeads, numHeads, numHeads, numAngles];
    const [z, values, b, c, steps, rates, trap, angles] = split(this.in_proj.forward(x), sizes, -1);
    const dt = toFloat32(steps).add(toFloat32(this.dt_bias)).softplus();
    const rate = toFloat32(rates).softplus().clamp(leastRate);
    return {
      z,
      inputs: {
        dt,
        gate: rate.mul(dt).neg(),
        trap,
        angles: angles.unsqueeze(-2).expand([...angles.shape.slice(0, -1), numHeads, numAngles]),
        ...this.written(splitHeads(values, numHeads), b, c),
        d: this.D,
      },
    };
  }

  /** Inputs, keys, queries and their biases of values [..., H, V] and of b and c [..., M G K]. */
  private written(x: Tensor, b: Tensor, c: Tensor): Pick<Inputs, 'x' | 'b' | 'c' | 'bBias' | 'cBias'> {
    const { B_norm, C_norm, B_bias, C_bias, mimo_x } = this;
    const { numGroups, mimoRank } = this.shape;
    if (mimoRank === null || !mimo_x) {
      const [keys, queries] = [B_norm.forward(splitHeads(b, numGroups)), C_norm.forward(splitHeads(c, numGroups))];
      return { x, b: keys, c: queries, bBias: B_bias.squeeze(1), cBias: C_bias.squeeze(1) };
    }
    const grouped = (t: Tensor): Tensor => splitHeads(splitHeads(t, mimoRank), numGroups).transpose(-3, -2);
    return {
      x: x.unsqueeze(-2).mul(mimo_x),
      b: paired(B_norm.forward(grouped(b))),
      c: paired(C_norm.forward(grouped(c))),
      bBias: paired(B_bias),
      cBias: paired(C_bias),
    };
  }

  /** What heads read [..., H, V], or [..., H, M, V], under the gate z [..., H V]: the output of the layer. */
  private readout(output: Tensor, z: Tensor): Tensor {
    const { mimo_z, mimo_o, out_proj } = this;
    if (!mimo_z || !mimo_o) return out_proj.forward(this.gated(mergeHeads(output), z));
    const gates = splitHeads(z, this.shape.numHeads).unsqueeze(-2).mul(mimo_z);
    const rows = (t: Tensor): Tensor => mergeHeads(t.transpose(-3, -2));
    const y = splitHeads(this.gated(rows(output), rows(gates)), this.shape.numHeads).transpose(-3, -2);
    return out_proj.forward(mergeHeads(y.mul(mimo_o).sum(-2)));
  }

  private gated(y: Tensor, z: Tensor): Tensor {
    return this.norm ? this.norm.forward(y, z) : y.mul(z.silu());
  }
}
