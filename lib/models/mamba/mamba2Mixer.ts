// The layer of Mamba-2 (Dao and Gu 2024; spec 2.13.6), for every family that has one: what differs between them is its shape.
import { checkObject, type Tensor } from '../../core';
import { noGrad } from '../../autograd';
import type { State } from '../../inference';
import { GatedRMSNorm, Linear, parameter, ShortConvolution } from '../../nn';
import { ones, split, type TensorOptions, zeros } from '../../ops';
import { mamba2Scan } from '../../rules';
import { logPositions, logUniform, type TimeStepRange, timeStepBias } from '../common/initialize';
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

/** Sizes and settings of one layer of `Mamba2Mixer`. */
export interface Mamba2Shape {
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
  /** Tokens that the convolution sees. */
  readonly convSize: number;
  /** Whether the convolution has a bias. */
  readonly convBias: boolean;
  /** Whether the projection into the layer has a bias. */
  readonly inputBias: boolean;
  /** Whether the projection out of it has one. */
  readonly outputBias: boolean;
  /** Least and largest step in time. */
  readonly timeStepLimit: readonly [number, number];
  /** Whether D has a weight for every value of a head, and not one for all of them. */
  readonly skipPerValue: boolean;
  /** The norm with the output gate; where there is none the gate alone multiplies. */
  readonly norm: {
    readonly eps: number;
    /** Parts that are normed apart. */
    readonly groups: number;
    /** Whether the gate multiplies the norm, or what is normed. */
    readonly beforeGate: boolean;
  } | null;
  /** New rates of decay: uniform between two numbers, or 1 to H. */
  readonly newRates: readonly [number, number] | null;
  /** New steps in time; null for a dt_bias of 1. */
  readonly newTimeSteps: TimeStepRange | null;
}

/** What projection and convolution make of x: the gate z [..., H V], and the scan's operands. */
export interface Mamba2Parts {
  /** The output gate before its silu [..., H V]. */
  z: Tensor;
  /** Values [..., H, V]. */
  values: Tensor;
  /** Keys [..., G, K]. */
  b: Tensor;
  /** Queries [..., G, K]. */
  c: Tensor;
  /** Steps in time before bias and softplus [..., H]. */
  dt: Tensor;
  /** Of further rows of the projection [..., extra]. */
  extra: Tensor;
}

/** The parameters of Mamba-2 and what surrounds its scan. A subclass runs the scan, and says what it remembers. */
export abstract class Mamba2Layer<S extends State> extends Recurrent<S> {
  /** Rows: gate H V, values H V, keys G K, queries G K, steps H, and those of a subclass; columns hiddenSize. */
  in_proj: Linear;
  /** Over values, keys and queries, weight [H V + 2 G K, 1, convSize], with silu. */
  conv1d: ShortConvolution;
  /** Added to the steps in time [H]; float32 also in a bfloat16 model. */
  dt_bias: Tensor;
  /** Log of each head's rate of decay [H]; float32 also in a bfloat16 model. */
  A_log: Tensor;
  /** Weight of the values in the output [H], or [H V] with `skipPerValue`; ones at first. */
  D: Tensor;
  /** Weight [H V]; null where the output has no norm. */
  norm: GatedRMSNorm | null;
  /** From the heads to the output, weight [hiddenSize, H V]. */
  out_proj: Linear;

  constructor(
    /** What the layer was made with. */
    readonly shape: Mamba2Shape,
    /** Further rows of `in_proj`. */
    private readonly extraRows: number,
    options: TensorOptions,
  ) {
    super();
    checkObject(new.target.name, 'shape', shape);
    const { hiddenSize, numHeads, headDim, stateSize, numGroups, convSize, norm, newRates, newTimeSteps } = shape;
    const inner = numHeads * headDim;
    const convolved = inner + 2 * numGroups * stateSize;
    this.in_proj = new Linear(hiddenSize, inner + convolved + numHeads + extraRows, {
      bias: shape.inputBias,
      ...options,
    });
    this.conv1d = new ShortConvolution(convolved, convSize, { bias: shape.convBias, ...options });
    noGrad(() => this.conv1d.bias?.fill_(0));
    const exact: TensorOptions = { ...options, dtype: options.dtype === 'bfloat16' ? 'float32' : options.dtype };
    this.dt_bias = newTimeSteps ? timeStepBias(numHeads, options, newTimeSteps) : parameter(ones([numHeads], exact));
    this.A_log = newRates ? logUniform(numHeads, ...newRates, options) : logPositions([numHeads], options);
    this.D = parameter(ones([shape.skipPerValue ? inner : numHeads], options));
    this.norm = norm
      ? new GatedRMSNorm(inner, {
          eps: norm.eps,
          normBeforeGate: norm.beforeGate,
          groupSize: inner / norm.groups,
          ...options,
        })
      : null;
    this.out_proj = new Linear(inner, hiddenSize, { bias: shape.outputBias, ...options });
  }

  protected override get keptInFloat32(): readonly string[] {
    return ['A_log', 'dt_bias'];
  }

  /** x [..., hiddenSize] to the rows of `in_proj`. */
  protected project(x: Tensor): Tensor {
    return this.in_proj.forward(x);
  }

  /** `convolve` takes values, keys and queries [..., H V + 2 G K] through the convolution. */
  protected partsOf(x: Tensor, convolve: (mixed: Tensor) => Tensor): Mamba2Parts {
    const { numHeads, headDim, stateSize, numGroups } = this.shape;
    const [inner, keys] = [numHeads * headDim, numGroups * stateSize];
    const sizes = [inner, inner + 2 * keys, numHeads, this.extraRows];
    const [z, mixed, dt, extra] = split(this.project(x), sizes, -1);
    const [values, b, c] = split(convolve(mixed), [inner, keys, keys], -1);
    return {
      z,
      values: splitHeads(values, numHeads),
      b: splitHeads(b, numGroups),
      c: splitHeads(c, numGroups),
      dt,
      extra,
    };
  }

  /** The parts of a sequence, and the last inputs of the convolution where they are asked for. */
  protected sequenceParts(
    x: Tensor,
    initialState: Tensor | null,
    { outputState: outputFinalState = false, cuSeqlens = null }: SequenceOptions,
  ): { parts: Mamba2Parts; convolution: Tensor | null } {
    let convolution: Tensor | null = null;
    const parts = this.partsOf(x, (mixed) => {
      const { output, finalState } = this.conv1d.forward(mixed, { initialState, outputFinalState, cuSeqlens });
      convolution = finalState?.to(stateDType(this.out_proj)) ?? null;
      return output;
    });
    return { parts, convolution };
  }

  /** D as the scan takes it. */
  protected get skip(): Tensor {
    const { shape, D } = this;
    return shape.skipPerValue ? D.reshape(shape.numHeads, shape.headDim) : D;
  }

  /** What the scan gives [..., H, V], with its gate, to [..., hiddenSize]. */
  protected readout(output: Tensor, z: Tensor): Tensor {
    const y = mergeHeads(output);
    return this.out_proj.forward(this.norm ? this.norm.forward(y, z) : y.mul(z.silu()));
  }
}

/** What a layer of Mamba-2 remembers. */
export type Mamba2State = {
  /** [B, H, K, V] */
  memory: Tensor;
  /** The last inputs of the convolution [B, H V + 2 G K, convSize - 1]. */
  convolution: Tensor;
};

/**
 * Fast weights with one learned decay per head and token (Dao and Gu 2024, "Transformers are SSMs"): log decay -exp(A_log)
 * delta with steps in time delta = softplus(dt + dt_bias) that also scale what is written; the output is gated.
 */
export class Mamba2Mixer extends Mamba2Layer<Mamba2State> {
  constructor(shape: Mamba2Shape, options: TensorOptions = {}) {
    super(shape, 0, options);
  }

  forward(x: Tensor, options: SequenceOptions<Mamba2State> = {}): SequenceResult<Mamba2State> {
    checkForward(this, x, options);
    const { state = null, outputState: outputFinalState = false, cuSeqlens = null } = options;
    const { parts, convolution } = this.sequenceParts(x, state?.convolution ?? null, options);
    const { output, finalState } = mamba2Scan(
      { ...this.operands(parts), initialState: state?.memory ?? null },
      { dtLimit: this.shape.timeStepLimit, outputFinalState, cuSeqlens },
    );
    const result = this.readout(output, parts.z);
    if (!finalState) return { output: result };
    return { output: result, state: { memory: finalState.contiguous(), convolution: convolution! } };
  }

  step(x: Tensor, state: Mamba2State): Tensor {
    checkStep(this, x, state);
    const { memory, convolution } = state;
    const parts = this.partsOf(x, (mixed) => this.conv1d.step(mixed, convolution));
    const options = { state: { state: memory }, dtLimit: this.shape.timeStepLimit };
    return this.readout(mamba2Scan.step(this.operands(parts), options), parts.z);
  }

  initialState(batch: number): Mamba2State {
    const { numHeads, headDim, stateSize } = this.shape;
    const where = { device: this.out_proj.device, dtype: stateDType(this.out_proj) };
    return {
      memory: zeros([batch, numHeads, stateSize, headDim], where),
      convolution: this.conv1d.initialState(batch),
    };
  }

  private operands({ values, b, c, dt }: Mamba2Parts): Omit<Parameters<typeof mamba2Scan>[0], 'initialState'> {
    return { x: values, dt, aLog: this.A_log, b, c, d: this.skip, dtBias: this.dt_bias };
  }
}
