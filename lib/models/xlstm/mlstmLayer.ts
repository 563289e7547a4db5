// The layer of mLSTM in xLSTM 7B (Beck et al. 2025): projections, the rule, a norm of each head, a gate.
import { checkObject, type Tensor } from '../../core';
import { noGrad } from '../../autograd';
import { Linear, Module, parameter } from '../../nn';
import { full, layerNorm, ones, split, type TensorOptions, toFloat32, zeros } from '../../ops';
import { mlstm } from '../../rules';
import { computable } from '../common/fastWeightMixer';
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
import type { XlstmConfiguration } from './configuration';

/** What a layer remembers, all of it divided by e^max. */
export type MlstmState = {
  /** C [B, H, K, V] */
  memory: Tensor;
  /** n [B, H, K] */
  normalizer: Tensor;
  /** m [B, H] */
  max: Tensor;
};

/** c tanh(x / c), which bounds what it is given; x itself without a cap. */
export function softCap(x: Tensor, cap: number | null): Tensor {
  return cap === null ? x : x.div(cap).tanh().mul(cap);
}

/** LayerNorm of each head's output, weight and bias [heads * width]. */
class HeadNorm extends Module {
  weight: Tensor;
  bias: Tensor | null;

  constructor(
    width: number,
    private readonly eps: number,
    useBias: boolean,
    options: TensorOptions,
  ) {
    super();
    this.weight = parameter(ones([width], options));
    this.bias = useBias ? parameter(zeros([width], options)) : null;
  }

  /** x [..., H, V] to [..., H V] */
  forward(x: Tensor): Tensor {
    const y = mergeHeads(layerNorm(x, null, null, this.eps)).mul(this.weight);
    return this.bias ? y.add(this.bias) : y;
  }
}

/**
 * out_proj(sigmoid(o) * LayerNorm(y)), y the output of `mlstm` per head for q, k, v, o and the gates i and f that are linear in
 * x, i and f with biases and a soft cap; with `useBias` all of them have biases. With `fused` q, k, v, o are one weight, and i, f are.
 * New gates depend on their biases alone: i is -10, f from 3 to 6 over the heads.
 */
export class MlstmLayer extends Recurrent<MlstmState> {
  /** Queries, weight [H K, hidden]; this and the next seven are null where the layout has the others. */
  q: Linear | null;
  /** Keys, weight [H K, hidden]. */
  k: Linear | null;
  /** Values, weight [H V, hidden]. */
  v: Linear | null;
  /** Before its sigmoid, weight [H V, hidden]. */
  ogate_preact: Linear | null;
  /** Input gates before their cap, weight [H, hidden] and a bias. */
  igate_preact: Linear | null;
  /** Forget gates before their cap and sigmoid, weight [H, hidden] and a bias. */
  fgate_preact: Linear | null;
  /** q, k, v and o, weight [2 H (K + V), hidden]. */
  qkv_opreact: Linear | null;
  /** i and f, weight [2 H, hidden]. */
  ifgate_preact: Linear | null;
  /** Weight [H V], and a bias with `useBias`. */
  multihead_norm: HeadNorm;
  /** Weight [hidden, H V]. */
  out_proj: Linear;

  constructor(
    /** Its sizes, caps and layout. */
    readonly config: XlstmConfiguration,
    options: TensorOptions = {},
  ) {
    super();
    checkObject(new.target.name, 'config', config);
    const { hiddenSize, numHeads, keyDim, valueDim, normEps, useBias: bias, fused } = config;
    const [qk, value] = [numHeads * keyDim, numHeads * valueDim];
    const project = (width: number): Linear => new Linear(hiddenSize, width, { bias, ...options });
    const gate = (width: number): Linear => new Linear(hiddenSize, width, options);
    this.q = fused ? null : project(qk);
    this.k = fused ? null : project(qk);
    this.v = fused ? null : project(value);
    this.ogate_preact = fused ? null : project(value);
    this.igate_preact = fused ? null : gate(numHeads);
    this.fgate_preact = fused ? null : gate(numHeads);
    this.qkv_opreact = fused ? project(2 * qk + 2 * value) : null;
    this.ifgate_preact = fused ? gate(2 * numHeads) : null;
    this.multihead_norm = new HeadNorm(value, normEps, bias, options);
    this.out_proj = new Linear(value, hiddenSize, { bias, ...options });
  }

  /** As published: gates that do not see x yet, i closed and f open. */
  initializeGates(): void {
    const { numHeads: H } = this.config;
    const steps = Array.from({ length: H }, (_, h) => 3 + (H === 1 ? 0 : (3 * h) / (H - 1)));
    const closed = new Array<number>(H).fill(-10);
    const draw = (proj: Linear, biases: number[]): void => {
      proj.weight.fill_(0);
      const { dtype, device } = proj.weight;
      biases.forEach((b, i) => proj.bias!.slice(0, i, i + 1).copy_(full([1], b, { dtype, device })));
    };
    noGrad(() => {
      if (this.ifgate_preact) draw(this.ifgate_preact, [...closed, ...steps]);
      else {
        draw(this.igate_preact!, closed);
        draw(this.fgate_preact!, steps);
      }
    });
  }

  /** x [..., hidden] to the operands of the rule, and o before its sigmoid. */
  private operands(x: Tensor): { q: Tensor; k: Tensor; v: Tensor; o: Tensor; i: Tensor; f: Tensor } {
    const { numHeads: H, keyDim, valueDim, gateSoftCap } = this.config;
    const widths = [keyDim, keyDim, valueDim, valueDim].map((width) => H * width);
    const parts = this.qkv_opreact
      ? split(this.qkv_opreact.forward(x), widths, -1)
      : [this.q!, this.k!, this.v!, this.ogate_preact!].map((proj) => proj.forward(x));
    const gates = this.ifgate_preact
      ? split(this.ifgate_preact.forward(x), [H, H], -1)
      : [this.igate_preact!, this.fgate_preact!].map((proj) => proj.forward(x));
    const [q, k, v] = parts.slice(0, 3).map((part) => computable(splitHeads(part, H)));
    const [i, f] = gates.map((gate) => softCap(toFloat32(gate), gateSoftCap));
    return { q, k, v, o: parts[3], i, f };
  }

  private readout(output: Tensor, o: Tensor): Tensor {
    return this.out_proj.forward(this.multihead_norm.forward(output.to(o.dtype)).mul(o.sigmoid()));
  }

  forward(x: Tensor, options: SequenceOptions<MlstmState> = {}): SequenceResult<MlstmState> {
    checkForward(this, x, options);
    const { state = null, outputState = false, cuSeqlens = null } = options;
    const { q, k, v, o, i, f } = this.operands(x);
    const { output, finalState, finalNormalizer, finalMax } = mlstm(q, k, v, {
      inputGate: i,
      forgetGate: f,
      eps: this.config.eps,
      initialState: state?.memory,
      initialNormalizer: state?.normalizer,
      initialMax: state?.max,
      outputFinalState: outputState,
      cuSeqlens,
    });
    const result = this.readout(output, o);
    if (!finalState) return { output: result };
    const [memory, normalizer, max] = [finalState, finalNormalizer!, finalMax!].map((t) => t.contiguous());
    return { output: result, state: { memory, normalizer, max } };
  }

  step(x: Tensor, state: MlstmState): Tensor {
    checkStep(this, x, state);
    const { memory, normalizer, max } = state;
    const { q, k, v, o, i, f } = this.operands(x);
    const options = { inputGate: i, forgetGate: f, eps: this.config.eps, state: memory, normalizer, max };
    return this.readout(mlstm.step(q, k, v, options), o);
  }

  initialState(batch: number): MlstmState {
    const { numHeads: H, keyDim: K, valueDim: V } = this.config;
    const empty = (...shape: number[]): Tensor =>
      zeros([batch, H, ...shape], { device: this.out_proj.device, dtype: stateDType(this.out_proj) });
    return { memory: empty(K, V), normalizer: empty(K), max: empty() };
  }
}
