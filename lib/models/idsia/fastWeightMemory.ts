// An LSTM with a Fast Weight Memory (Schlag, Munkhdalai, Schmidhuber 2021; spec 2.8).
import { checkChoice, checkInteger, checkNumber, checkOptions, type OptionNames, type Tensor } from '../../core';
import { drawsWeights, init, Linear, Module, parameter } from '../../nn';
import { cat, type CuSeqlens, rand, TENSOR_OPTIONS, type TensorOptions, zeros } from '../../ops';
import { fastWeightMemory, type FastWeightMemoryOptions, lstm } from '../../rules';
import {
  checkForward,
  Recurrent,
  type SequenceOptions,
  type SequenceResult,
  stateDType,
  stepByForward,
} from '../common/mixer';

/** Options of `FastWeightMemoryCell`. */
export interface FastWeightMemoryCellOptions extends FastWeightMemoryOptions, TensorOptions {
  /** S, the width of queries and of what is found, and N: 32 by default. */
  memorySize?: number;
  /** R, the width of relations: memorySize by default. */
  relationSize?: number;
  /** Whether the LSTM's output is added to what is read; true by default. */
  residual?: boolean;
}

const OPTIONS: OptionNames<FastWeightMemoryCellOptions> = {
  ...TENSOR_OPTIONS,
  hops: true,
  readTanh: true,
  writeScale: true,
  normCap: true,
  layerNormEps: true,
  memorySize: true,
  relationSize: true,
  residual: 'flag',
};

/** What a `FastWeightMemoryCell` remembers: the LSTM's states, and the memory [B, S, R, N]. */
export type FastWeightMemoryState = { slow: { hidden: Tensor; cell: Tensor }; memory: Tensor };

/** The published cell: one bias, gates in the order input, forget, candidate, output, 1 added in front of the forget gate. */
class ForgetfulLstm extends Module {
  W_ih: Tensor;
  W_hh: Tensor;
  bias: Tensor;

  constructor(inputSize: number, hiddenSize: number, options: TensorOptions) {
    super();
    const bound = hiddenSize ** -0.5;
    const draw = (width: number): Tensor =>
      parameter(rand([4 * hiddenSize, width], { ...options, low: -bound, high: bound }));
    this.W_ih = draw(inputSize);
    this.W_hh = draw(hiddenSize);
    this.bias = parameter(zeros([4 * hiddenSize], options));
  }

  forward(
    x: Tensor,
    slow: { hidden: Tensor; cell: Tensor } | null,
    cuSeqlens: CuSeqlens | null,
  ): { output: Tensor; hidden: Tensor; cell: Tensor } {
    const { W_ih, W_hh, bias } = this;
    const D = W_hh.shape[1];
    const none = bias.detach().slice(0, 0, D).mul(0);
    const weights = { weightIh0: W_ih, weightHh0: W_hh, biasIh0: bias, biasHh0: cat([none, none.add(1), none, none]) };
    const before = { initialHidden: slow?.hidden, initialCell: slow?.cell };
    const result = lstm({ x, ...weights, ...before }, { cuSeqlens, outputFinalState: true });
    return { output: result.output, hidden: result.finalHidden, cell: result.finalCell };
  }
}

/**
 * An LSTM that writes to a third-order memory with every token and reads from it in hops: the rule `fastWeightMemory`;
 * x [B, T, inputSize] to W q (+ h) [B, T, hiddenSize]. Names and new weights of the published program
 * (ischlag/Fast-Weight-Memory-public, `TPRRNNCell`).
 */
export class FastWeightMemoryCell extends Recurrent<FastWeightMemoryState> {
  /** W_ih [4 hiddenSize, inputSize], W_hh [4 hiddenSize, hiddenSize], bias [4 hiddenSize]. */
  lstm: ForgetfulLstm;
  /** To s, r, t and the strength of a write, weight [2 S + R + 1, hiddenSize]. */
  W_write: Linear;
  /** To the first query and the relations, weight [S + hops R, hiddenSize]. */
  W_read: Linear;
  /** From what was found to the output, weight [hiddenSize, S]. */
  linear: Linear;
  private readonly settings: Required<FastWeightMemoryOptions>;
  private readonly sizes: { memorySize: number; relationSize: number };
  private readonly residual: boolean;

  constructor(
    /** Width of x. */
    readonly inputSize: number,
    /** Width of the LSTM and of the output. */
    readonly hiddenSize: number,
    options: FastWeightMemoryCellOptions = {},
  ) {
    super();
    const where = 'FastWeightMemoryCell';
    checkOptions(where, options, OPTIONS);
    const {
      hops = 3,
      readTanh = 'relations',
      writeScale = null,
      normCap = 1,
      layerNormEps = 1e-5,
      memorySize = 32,
      relationSize = memorySize,
      residual = true,
      ...place
    } = options;
    for (const [name, size] of Object.entries({ inputSize, hiddenSize, memorySize, relationSize, hops })) {
      checkInteger(where, name, size, 1);
    }
    checkChoice(where, 'readTanh', readTanh, ['relations', 'all', 'none']);
    checkNumber(where, 'normCap', normCap, Number.MIN_VALUE);
    checkNumber(where, 'layerNormEps', layerNormEps, 0);
    if (writeScale !== null) checkNumber(where, 'writeScale', writeScale);
    this.settings = { hops, readTanh, writeScale, normCap, layerNormEps };
    this.sizes = { memorySize, relationSize };
    this.residual = residual;
    this.lstm = new ForgetfulLstm(inputSize, hiddenSize, place);
    this.W_write = new Linear(hiddenSize, 2 * memorySize + relationSize + 1, place);
    this.W_read = new Linear(hiddenSize, memorySize + hops * relationSize, place);
    this.linear = new Linear(memorySize, hiddenSize, place);
    if (drawsWeights()) this.draw();
  }

  forward(x: Tensor, options: SequenceOptions<FastWeightMemoryState> = {}): SequenceResult<FastWeightMemoryState> {
    checkForward(this, x, options);
    const { state = null, outputState = false, cuSeqlens = null } = options;
    const slow = this.lstm.forward(x, state?.slow ?? null, cuSeqlens);
    const initialState = state?.memory ?? this.emptyMemory(cuSeqlens ? cuSeqlens.length - 1 : x.shape[0]);
    const { output, finalState } = fastWeightMemory(
      { write: this.W_write.forward(slow.output), read: this.W_read.forward(slow.output), initialState },
      { ...this.settings, cuSeqlens, outputFinalState: true },
    );
    const result = this.linear.forward(output, { residual: this.residual ? slow.output : null });
    if (!outputState) return { output: result };
    const { hidden, cell } = slow;
    return { output: result, state: { slow: { hidden, cell }, memory: finalState } };
  }

  /** Draws the weights of its linear layers, as the published program does. */
  draw(): void {
    for (const { weight, bias } of [this.W_write, this.W_read, this.linear]) {
      const bound = weight.shape[1] ** -0.5;
      for (const t of [weight, bias!]) init.uniform_(t, -bound, bound);
    }
    const bound = Math.sqrt(6 / (this.hiddenSize + this.sizes.memorySize));
    for (const { weight } of [this.W_write, this.W_read]) init.uniform_(weight, -bound, bound);
  }

  step(x: Tensor, state: FastWeightMemoryState): Tensor {
    return stepByForward(this, x, state);
  }

  initialState(batch: number): FastWeightMemoryState {
    const where = { device: this.linear.device, dtype: stateDType(this.linear) };
    const empty = (): Tensor => zeros([1, batch, this.hiddenSize], where);
    return { slow: { hidden: empty(), cell: empty() }, memory: this.emptyMemory(batch) };
  }

  private emptyMemory(batch: number): Tensor {
    const { memorySize, relationSize } = this.sizes;
    const where = { device: this.linear.device, dtype: stateDType(this.linear) };
    return zeros([batch, memorySize, relationSize, memorySize], where);
  }
}
