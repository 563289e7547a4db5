// Sublayers of the recurrent fast weight programmers (Irie, Schlag, Csordas, Schmidhuber 2021; spec 2.4.1 to 2.4.3).
import { checkObject, type Tensor } from '../../core';
import { noGrad } from '../../autograd';
import { Linear, parameter } from '../../nn';
import { type CuSeqlens, randn, split } from '../../ops';
import { deltaLstm, deltaRnn, recurrentDelta } from '../../rules';
import { type Placed, mergeHeads, type SequenceResult, splitHeads } from '../common/mixer';
import {
  type Arrangement,
  type MemoryOptions,
  type MemoryState,
  statesAfter,
  statesBefore,
  Sublayer,
  type SublayerOptions,
} from './sublayer';

/** Options of the layers of this file. */
export interface RecurrentLayerOptions extends SublayerOptions {
  /** 'pre', that of the algorithmic code, by default; 'post' is that of language modelling. */
  arrangement?: Arrangement;
  /** Multiplies what is read, not what is fed back; 1 by default, headDim ** -0.5 in language modelling. */
  scale?: number;
}

/** Inputs of a rule by name. */
export type Inputs = Record<string, Tensor>;
/** States before the first token by their names among the inputs. */
export type Before = Record<string, Tensor>;
/** Options of a rule over whole sequences. */
export type Whole = { outputFinalState: boolean; cuSeqlens: CuSeqlens | null };

/**
 * Base: one slow projection of x gives the inputs of a rule, head after head in the order of `parts`, and a projection of
 * what is read the output.
 */
export abstract class SlowNetLayer extends Sublayer {
  /** From x to the inputs of the rule, weight [H (sum of widths), hidden], no bias. */
  slow_net: Linear;
  /** From the heads to the output, weight [hidden, hidden], no bias. */
  out_linear: Linear;
  /** Multiplies what is read, not what is fed back. */
  readonly scale: number;

  constructor(
    hiddenSize: number,
    numHeads: number,
    /** The inputs of the rule in the order of the projection; strengths are of width 1, the others of headDim. */
    readonly parts: readonly string[],
    options: RecurrentLayerOptions,
  ) {
    checkObject(new.target.name, 'options', options);
    const { arrangement = 'pre', scale = 1, dropout, normEps, ...where } = options;
    super(hiddenSize, numHeads, arrangement, { dropout, normEps, ...where });
    this.scale = scale;
    const width = this.widths().reduce((sum, n) => sum + n, 0);
    this.slow_net = new Linear(hiddenSize, numHeads * width, { bias: false, ...where });
    this.out_linear = new Linear(hiddenSize, hiddenSize, { bias: false, ...where });
  }

  protected get reference(): Placed {
    return this.out_linear;
  }

  private widths(): number[] {
    return this.parts.map((part) => (isStrength(part) ? 1 : this.headDim));
  }

  /** The inputs of the rule [B, T, H, D] and [B, T, H], of one token without T. */
  private inputs(x: Tensor): Inputs {
    const pieces = split(splitHeads(this.slow_net.forward(x), this.numHeads), this.widths(), -1);
    return Object.fromEntries(
      this.parts.map((part, i) => [part, isStrength(part) ? pieces[i].squeeze(-1) : pieces[i]]),
    );
  }

  /** The rule over a sequence, from the states before it. */
  protected abstract sequence(inputs: Inputs, before: Before, whole: Whole): Record<string, Tensor | undefined>;

  /** The rule on one token; without it a token is a sequence. */
  protected token?(inputs: Inputs, state: MemoryState): Tensor;

  protected memory(x: Tensor, { state, outputState, cuSeqlens }: MemoryOptions): SequenceResult<MemoryState> {
    const result = this.sequence(this.inputs(x), statesBefore(state), { outputFinalState: outputState, cuSeqlens });
    const output = this.out_linear.forward(mergeHeads(result.output!));
    return outputState ? { output, state: statesAfter(result as Record<string, Tensor>) } : { output };
  }

  protected override memoryStep(x: Tensor, state: MemoryState): Tensor {
    if (!this.token) return super.memoryStep(x, state);
    return this.out_linear.forward(mergeHeads(this.token(this.inputs(x), state)));
  }
}

function isStrength(part: string): boolean {
  return /beta/i.test(part);
}

/** Recurrent Delta Net (spec 2.4.3): R_k, R_q, R_v [1, H, D, D] and r_b [1, H, 1, D], drawn with deviation 1 / sqrt(D). */
export class RecurrentDeltaLayer extends SlowNetLayer {
  /** From the last output to keys [1, H, D, D]. */
  R_k: Tensor;
  /** To queries [1, H, D, D]. */
  R_q: Tensor;
  /** To values [1, H, D, D]. */
  R_v: Tensor;
  /** To strengths [1, H, 1, D]. */
  r_b: Tensor;

  constructor(hiddenSize: number, numHeads: number, options: RecurrentLayerOptions = {}) {
    super(hiddenSize, numHeads, ['q', 'k', 'v', 'beta'], options);
    const D = this.headDim;
    const { device, dtype } = options;
    const draw = (rows: number): Tensor =>
      parameter(noGrad(() => randn([1, numHeads, rows, D], { std: D ** -0.5, device, dtype })));
    [this.R_k, this.R_q, this.R_v, this.r_b] = [draw(D), draw(D), draw(D), draw(1)];
  }

  protected get stateShapes(): Record<string, readonly number[]> {
    const { numHeads: H, headDim: D } = this;
    return { state: [H, D, D], output: [H, D] };
  }

  private get trained(): { recurrentK: Tensor; recurrentQ: Tensor; recurrentV: Tensor; recurrentBeta: Tensor } {
    return {
      recurrentK: this.R_k.squeeze(0),
      recurrentQ: this.R_q.squeeze(0),
      recurrentV: this.R_v.squeeze(0),
      recurrentBeta: this.r_b.squeeze(0).squeeze(1),
    };
  }

  protected sequence({ q, k, v, beta }: Inputs, before: Before, whole: Whole): Record<string, Tensor | undefined> {
    return recurrentDelta(q, k, v, { beta, ...this.trained, ...before, ...whole, scale: this.scale });
  }

  protected override token({ q, k, v, beta }: Inputs, state: MemoryState): Tensor {
    return recurrentDelta.step(q, k, v, { beta, ...this.trained, state: state as never, scale: this.scale });
  }
}

/** Options of `DeltaRnnLayer`. */
export interface DeltaRnnLayerOptions extends RecurrentLayerOptions {
  /** 2, the paper's, by default. */
  version?: 1 | 2;
}

/** Delta RNN (spec 2.4.1). */
export class DeltaRnnLayer extends SlowNetLayer {
  /** 2 is the paper's. */
  readonly version: 1 | 2;

  constructor(hiddenSize: number, numHeads: number, given: DeltaRnnLayerOptions = {}) {
    checkObject(new.target.name, 'options', given);
    const { version = 2, ...options } = given;
    super(hiddenSize, numHeads, ['q', 'k', 'v', 'recurrentK', 'recurrentV', 'beta', 'recurrentBeta'], options);
    this.version = version;
  }

  protected get stateShapes(): Record<string, readonly number[]> {
    const { numHeads: H, headDim: D } = this;
    return { state: [H, D, D], recurrentState: [H, D, D], output: [H, D] };
  }

  protected sequence({ q, k, v, ...rest }: Inputs, before: Before, whole: Whole): Record<string, Tensor | undefined> {
    const { version, scale } = this;
    return deltaRnn(q, k, v, { ...(rest as DeltaRnnInputs), ...before, ...whole, version, scale });
  }

  protected override token({ q, k, v, ...rest }: Inputs, state: MemoryState): Tensor {
    const { version, scale } = this;
    return deltaRnn.step(q, k, v, { ...(rest as DeltaRnnInputs), state: state as never, version, scale });
  }
}

type DeltaRnnInputs = { beta: Tensor; recurrentK: Tensor; recurrentV: Tensor; recurrentBeta: Tensor };

/** Options of `DeltaLstmLayer`. */
export interface DeltaLstmLayerOptions extends RecurrentLayerOptions {
  /** 4, the paper's, by default. */
  version?: 1 | 2 | 3 | 4;
}

const GATES = ['I', 'U', 'O'] as const;

/** Delta LSTM (spec 2.4.2). */
export class DeltaLstmLayer extends SlowNetLayer {
  /** 4 is the paper's. */
  readonly version: 1 | 2 | 3 | 4;

  constructor(hiddenSize: number, numHeads: number, given: DeltaLstmLayerOptions = {}) {
    checkObject(new.target.name, 'options', given);
    const { version = 4, ...options } = given;
    const sequences = GATES.flatMap((gate) => ['q', 'k', 'v', 'recurrentK', 'recurrentV'].map((part) => part + gate));
    const strengths = GATES.flatMap((gate) => [`beta${gate}`, `recurrentBeta${gate}`]);
    super(hiddenSize, numHeads, [...sequences, ...strengths], options);
    this.version = version;
  }

  protected get stateShapes(): Record<string, readonly number[]> {
    const { numHeads: H, headDim: D } = this;
    const matrices = GATES.flatMap((gate) => [`state${gate}`, `recurrentState${gate}`]);
    return { ...Object.fromEntries(matrices.map((name) => [name, [H, D, D]])), cell: [H, D], output: [H, D] };
  }

  protected sequence(inputs: Inputs, before: Before, whole: Whole): Record<string, Tensor | undefined> {
    const { version, scale } = this;
    return deltaLstm({ ...(inputs as DeltaLstmInputs), ...before }, { ...whole, version, scale });
  }

  protected override token(inputs: Inputs, state: MemoryState): Tensor {
    const { version, scale } = this;
    return deltaLstm.step(inputs as DeltaLstmInputs, { state: state, version, scale });
  }
}

type DeltaLstmInputs = Parameters<typeof deltaLstm>[0];
