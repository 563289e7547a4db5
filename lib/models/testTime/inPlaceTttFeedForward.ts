// The feed-forward of In-Place TTT: a SwiGLU whose down projection goes on learning (arXiv 2604.06169).
import { argumentError, checkInteger, checkNumber, checkOptions, type OptionNames, type Tensor } from '../../core';
import { noGrad } from '../../autograd';
import { Linear, ShortConvolution } from '../../nn';
import { swiglu, TENSOR_OPTIONS, type TensorOptions, zeros } from '../../ops';
import { inPlaceTtt } from '../../rules';
import { type Placed, mergeHeads, splitHeads } from '../common/mixer';
import { type ChunkedPast, type ChunkedRule, type Operands, TestTimeMixer } from './mixer';

/** Options of `InPlaceTttFeedForward`, those that a tensor is made with among them. */
export interface InPlaceTttFeedForwardOptions extends TensorOptions {
  /** Tokens between two changes of the down projection, 1024 by default. */
  chunkSize?: number;
  /** Multiplies what a token writes; 1 / chunkSize by default, so that a chunk writes a mean. */
  rate?: number;
  /** Embeddings that the convolution sees, 4 by default. */
  convSize?: number;
}

const OPTIONS: OptionNames<InPlaceTttFeedForwardOptions> = {
  ...TENSOR_OPTIONS,
  chunkSize: true,
  rate: true,
  convSize: true,
};

/**
 * (W + D) z with z = silu(gate_proj x) * up_proj x, W the weight of down_proj and D what the text has added to it: behind every
 * chunk D grows by the sum of rate target_proj(conv1d(e)) z^T, e the embeddings of the chunk's tokens, which stand in
 * `beside.embeddings` [B, T, hidden]. Equations as in `inPlaceTtt`. Choices made here: the convolution is depthwise, causal, and
 * goes on from chunk to chunk; target_proj begins with zeros, so that the layer is a SwiGLU at first, one that is trained already
 * among them.
 */
export class InPlaceTttFeedForward extends TestTimeMixer {
  /** Weight [inner, hidden]. */
  gate_proj: Linear;
  /** Weight [inner, hidden]. */
  up_proj: Linear;
  /** Weight W [hidden, inner]. */
  down_proj: Linear;
  /** Over the embeddings, weight [hidden, 1, convSize]. */
  conv1d: ShortConvolution;
  /** To what a token writes, weight [hidden, hidden]; zeros at first. */
  target_proj: Linear;
  protected readonly rule = inPlaceTtt as unknown as ChunkedRule;
  protected readonly settings: { chunkSize: number; rate: number };
  protected readonly chunk: number;

  constructor(
    /** Width of x. */
    readonly hiddenSize: number,
    /** Width between the projections. */
    readonly innerSize: number,
    options: InPlaceTttFeedForwardOptions = {},
  ) {
    super();
    const where = 'InPlaceTttFeedForward';
    checkOptions(where, options, OPTIONS);
    const { chunkSize = 1024, convSize = 4, rate = 1 / chunkSize, ...on } = options;
    this.chunk = checkInteger(where, 'chunkSize', chunkSize, 1);
    this.settings = { chunkSize, rate: checkNumber(where, 'rate', rate) };
    const linear = (from: number, to: number): Linear => new Linear(from, to, { bias: false, ...on });
    this.gate_proj = linear(hiddenSize, innerSize);
    this.up_proj = linear(hiddenSize, innerSize);
    this.down_proj = linear(innerSize, hiddenSize);
    this.conv1d = new ShortConvolution(hiddenSize, convSize, { activation: null, ...on });
    this.target_proj = linear(hiddenSize, hiddenSize);
    noGrad(() => this.target_proj.weight.fill_(0));
  }

  protected get reference(): Placed {
    return this.down_proj;
  }

  protected override get convolutions(): Record<string, ShortConvolution> {
    return { embeddings: this.conv1d };
  }

  protected starts(): { [name: string]: [string, Tensor] } {
    const { dtype, device } = this.reference;
    const none = (): Tensor => zeros([1, this.innerSize, this.hiddenSize], { dtype, device });
    return { state: ['State', none()], ...(this.chunk > 1 && { pending: ['Pending', none()] }) };
  }

  protected inputs(x: Tensor, { convolve, beside }: ChunkedPast): Operands {
    const { embeddings } = beside as { embeddings?: Tensor };
    if (!embeddings) {
      const expected = `a Tensor [${x.shape}], the embeddings of the tokens`;
      throw argumentError('INVALID_ARGUMENT', 'InPlaceTttFeedForward', 'beside.embeddings', expected, 'nothing');
    }
    const z = splitHeads(swiglu(this.gate_proj.forward(x), this.up_proj.forward(x)), 1);
    const target = this.target_proj.forward(convolve('embeddings', this.conv1d, embeddings));
    return { q: z, k: z, v: splitHeads(target, 1) };
  }

  protected readout(gained: Tensor, _: Tensor, { q: z }: Operands): Tensor {
    return this.down_proj.forward(mergeHeads(z), { residual: mergeHeads(gained) });
  }
}
