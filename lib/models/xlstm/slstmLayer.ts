// The layer of sLSTM in xLSTM's blocks (Beck et al. 2024): a convolution, gates head by head, the cell, a norm of each head.
import { checkInteger, checkOptions, type OptionNames, type Tensor } from '../../core';
import { Module, parameter, ShortConvolution } from '../../nn';
import { einsum, layerNorm, linspace, ones, rand, stack, TENSOR_OPTIONS, type TensorOptions, zeros } from '../../ops';
import { slstm } from '../../rules';
import {
  checkForward,
  checkHeads,
  checkStep,
  mergeHeads,
  Recurrent,
  type SequenceOptions,
  type SequenceResult,
  splitHeads,
  stateDType,
} from '../common/mixer';

/** Options of `SlstmLayer`, those that a tensor is made with among them. */
export interface SlstmLayerOptions extends TensorOptions {
  /** Tokens that the convolution of input and forget gates sees, 4 by default; null for none. */
  convSize?: number | null;
  /** In the norm of the output, 1e-5 by default. */
  normEps?: number;
}

const OPTIONS: OptionNames<SlstmLayerOptions> = { ...TENSOR_OPTIONS, convSize: true, normEps: true };

/** What a layer remembers: the last inputs of its convolution [B, hidden, convSize - 1], and the cell [B, H, D]. */
export type SlstmState = {
  convolution: Tensor | null;
  hidden: Tensor;
  cell: Tensor;
  normalizer: Tensor;
  max: Tensor;
};

/** A matrix for each head. */
class HeadLinear extends Module {
  /** [H, D, D], rows are outputs; uniform in +-1/sqrt(D). */
  weight: Tensor;

  constructor(heads: number, width: number, options: TensorOptions) {
    super();
    const bound = width ** -0.5;
    this.weight = parameter(rand([heads, width, width], { ...options, low: -bound, high: bound }));
  }

  /** x [..., H, D] */
  forward(x: Tensor): Tensor {
    const [H, D] = x.shape.slice(-2);
    return einsum('nhd,hed->nhe', x.reshape(-1, H, D), this.weight).reshape(x.shape);
  }
}

/**
 * LayerNorm of each head of `slstm`, times `norm`: input and forget gates from x behind the convolution with silu, cell and output
 * gates from x, a matrix for each head, and the last output through R. Of a block it is the part between its norm and what
 * follows, a feed-forward. New recurrent weights and biases are zeros but those of the forget gates, from 3 to 6 over a head.
 */
export class SlstmLayer extends Recurrent<SlstmState> {
  /** Over x for the input and forget gates, weight [hidden, 1, convSize] and bias [hidden], with silu; null without one. */
  conv1d: ShortConvolution | null;
  /** Input gates, weight [H, D, D]. */
  igate: HeadLinear;
  /** Forget gates, weight [H, D, D]. */
  fgate: HeadLinear;
  /** What is written, weight [H, D, D]. */
  zgate: HeadLinear;
  /** Output gates, weight [H, D, D]. */
  ogate: HeadLinear;
  /** R [H, 4, D, D], from the last output to the gates in the order input, forget, cell, output; rows are inputs. */
  recurrent: Tensor;
  /** [4, H, D], in the same order. */
  bias: Tensor;
  /** Weight of the norm of each head's output, [hidden]. */
  norm: Tensor;
  private readonly normEps: number;

  constructor(
    /** Width of x. */
    readonly hiddenSize: number,
    /** H, a divisor of hiddenSize; D = hiddenSize / H. */
    readonly numHeads: number,
    options: SlstmLayerOptions = {},
  ) {
    super();
    const where = 'SlstmLayer';
    checkOptions(where, options, OPTIONS);
    checkInteger(where, 'hiddenSize', hiddenSize, 1);
    checkHeads(where, 'numHeads', numHeads, hiddenSize);
    const { convSize = 4, normEps = 1e-5, ...on } = options;
    const [H, D] = [numHeads, hiddenSize / numHeads];
    const gate = (): HeadLinear => new HeadLinear(H, D, on);
    this.normEps = normEps;
    this.conv1d = convSize === null ? null : new ShortConvolution(hiddenSize, convSize, { bias: true, ...on });
    this.igate = gate();
    this.fgate = gate();
    this.zgate = gate();
    this.ogate = gate();
    this.recurrent = parameter(zeros([H, 4, D, D], on));
    const none = zeros([H, D], on);
    this.bias = parameter(stack([none, linspace(3, 6, D, on).expand(H, D), none, none], 0).detach());
    this.norm = parameter(ones([hiddenSize], on));
  }

  forward(x: Tensor, options: SequenceOptions<SlstmState> = {}): SequenceResult<SlstmState> {
    checkForward(this, x, options);
    const { state = null, outputState = false, cuSeqlens = null } = options;
    const over = { initialState: state?.convolution, outputFinalState: outputState, cuSeqlens };
    const convolved = this.conv1d?.forward(x, over) ?? null;
    const before = state && {
      initialHidden: state.hidden,
      initialCell: state.cell,
      initialNormalizer: state.normalizer,
      initialMax: state.max,
    };
    const inputs = this.inputs(x, convolved?.output ?? x);
    const result = slstm({ ...inputs, ...before }, { outputFinalState: outputState, cuSeqlens });
    const output = this.readout(result.output.to(x.dtype));
    if (!outputState) return { output };
    const { finalHidden, finalCell, finalNormalizer, finalMax } = result;
    const [hidden, cell, normalizer, max] = [finalHidden!, finalCell!, finalNormalizer!, finalMax!].map((t) =>
      t.contiguous(),
    );
    return { output, state: { convolution: convolved?.finalState ?? null, hidden, cell, normalizer, max } };
  }

  step(x: Tensor, state: SlstmState): Tensor {
    checkStep(this, x, state);
    const { convolution, ...cell } = state;
    const convolved = this.conv1d?.step(x, convolution!) ?? x;
    return this.readout(slstm.step(this.inputs(x, convolved), { state: cell }).to(x.dtype));
  }

  initialState(batch: number): SlstmState {
    const { device, dtype } = { device: this.norm.device, dtype: stateDType(this.norm) };
    const blank = (): Tensor => zeros([batch, this.numHeads, this.hiddenSize / this.numHeads], { device, dtype });
    const convolution = this.conv1d?.initialState(batch) ?? null;
    return { convolution, hidden: blank(), cell: blank(), normalizer: blank(), max: blank() };
  }

  /** x and what the convolution made of it [..., hidden] to what the rule takes. */
  private inputs(x: Tensor, convolved: Tensor): Parameters<typeof slstm.step>[0] {
    const [own, seen] = [x, convolved].map((t) => splitHeads(t, this.numHeads));
    const gates = [
      this.igate.forward(seen),
      this.fgate.forward(seen),
      this.zgate.forward(own),
      this.ogate.forward(own),
    ];
    return { gates: stack(gates, -3), recurrent: this.recurrent, bias: this.bias };
  }

  private readout(output: Tensor): Tensor {
    return mergeHeads(layerNorm(output, null, null, this.normEps)).mul(this.norm);
  }
}
