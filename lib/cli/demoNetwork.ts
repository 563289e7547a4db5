// The network of the demo: one layer, one head, and a memory whose rule is the only difference between two of them.
import type { Device, Tensor } from '../core';
import type { RecurrentModel, State } from '../inference';
import { saveShards } from '../io';
import { Embedding, Linear, Module, RMSNorm, ShortConvolution } from '../nn';
import { zeros } from '../ops';
import { deltaRule, linearAttention } from '../rules';

export type MemoryRule = 'delta' | 'sum';

type MemoryState = {
  /** [B, 1, K, V] */
  memory: Tensor;
  /** The last tokens that the convolution has seen [B, D, 3]. */
  convolution: Tensor;
};

const KERNEL = 4;

export class RecallNetwork extends Module implements RecurrentModel {
  embed: Embedding;
  conv: ShortConvolution;
  q_proj: Linear;
  k_proj: Linear;
  v_proj: Linear;
  b_proj: Linear;
  norm: RMSNorm;
  head: Linear;
  readonly stopTokens = [];

  constructor(
    readonly rule: MemoryRule,
    readonly vocabSize: number,
    private readonly width: number,
    where: { device: Device },
  ) {
    super();
    const linear = (out: number): Linear => new Linear(width, out, { bias: false, ...where });
    this.embed = new Embedding(vocabSize, width, where);
    this.conv = new ShortConvolution(width, KERNEL, where);
    this.q_proj = linear(width);
    this.k_proj = linear(width);
    this.v_proj = linear(width);
    this.b_proj = new Linear(width, 1, where);
    this.norm = new RMSNorm(width, { eps: 1e-6, ...where });
    this.head = linear(vocabSize);
  }

  /** ids [B, T] -> logits [B, T, vocabulary] */
  forward(ids: Tensor): { logits: Tensor } {
    const { output } = this.sequence(ids, null);
    return { logits: this.head.forward(output) };
  }

  initialState(batch: number): MemoryState {
    const { width, device } = this;
    return { memory: zeros([batch, 1, width, width], { device }), convolution: this.conv.initialState(batch) };
  }

  prefill(ids: Tensor, state: State): { logits: Tensor; state: MemoryState } {
    const { output, ...after } = this.sequence(ids, state as MemoryState);
    const T = ids.shape[1];
    return { logits: this.head.forward(output.slice(1, T - 1).squeeze(1)), state: after as MemoryState };
  }

  step(ids: Tensor, state: State): Tensor {
    const { memory, convolution } = state as MemoryState;
    const x = this.embed.forward(ids);
    const { q, k, v, beta } = this.operands(this.conv.step(x, convolution));
    const output =
      this.rule === 'delta'
        ? deltaRule.step(q, k, v, { beta, qkL2Norm: true, scale: 1, state: memory })
        : linearAttention.step(q, k, v.mul(beta.unsqueeze(-1)), { qkL2Norm: true, scale: 1, state: memory });
    return this.head.forward(this.read(output, x));
  }

  async savePretrained(dir: string): Promise<void> {
    await saveShards(dir, this.stateDict());
  }

  private sequence(ids: Tensor, state: MemoryState | null): { output: Tensor; memory?: Tensor; convolution?: Tensor } {
    const x = this.embed.forward(ids);
    const keep = { outputFinalState: state !== null };
    const mixed = this.conv.forward(x, { ...keep, initialState: state?.convolution });
    const { q, k, v, beta } = this.operands(mixed.output);
    const options = { ...keep, qkL2Norm: true, scale: 1, initialState: state?.memory };
    const { output, finalState } =
      this.rule === 'delta'
        ? deltaRule(q, k, v, { ...options, beta })
        : linearAttention(q, k, v.mul(beta.unsqueeze(-1)), options);
    return { output: this.read(output, x), memory: finalState, convolution: mixed.finalState };
  }

  /** x [..., D] -> q, k, v [..., 1, D] and the strength of the write [..., 1] */
  private operands(x: Tensor): { q: Tensor; k: Tensor; v: Tensor; beta: Tensor } {
    const [q, k, v] = [this.q_proj, this.k_proj, this.v_proj].map((proj) => proj.forward(x).unsqueeze(-2));
    return { q, k, v, beta: this.b_proj.forward(x).sigmoid() };
  }

  /** What was recalled [..., 1, D], beside the token itself. */
  private read(output: Tensor, x: Tensor): Tensor {
    return this.norm.forward(output.squeeze(-2).add(x));
  }
}
