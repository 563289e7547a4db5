// A sublayer of self-modifying Titans (Behrouz, Razaviyayn, Zhong, Mirrokni, "Nested Learning", 2025).
import { checkObject, type Tensor } from '../../core';
import { noGrad } from '../../autograd';
import { Linear, parameter } from '../../nn';
import { randn, zeros } from '../../ops';
import { selfModifyingTitans, type SelfModifyingTitansOptions } from '../../rules';
import { mergeHeads, type SequenceResult, splitHeads } from '../common/mixer';
import {
  type Arrangement,
  type MemoryOptions,
  type MemoryState,
  statesAfter,
  Sublayer,
  type SublayerOptions,
} from './sublayer';

/** Options of `SelfModifyingTitansLayer`. */
export interface SelfModifyingTitansLayerOptions extends SublayerOptions, SelfModifyingTitansOptions {
  /** Where norm and residual stand; 'pre' by default. */
  arrangement?: Arrangement;
}

/**
 * x + o_proj(y), y [B, T, hidden] read with the one fixed projection q_proj from memories per head that write their own
 * keys, targets, learning rate and retention; x goes into them as it is, cut into heads. W_m, W_v, W_k [H, D, D] are where
 * they start, drawn with deviation 1 / sqrt(D), w_eta and w_alpha [H, D, 1] are zero then.
 */
export class SelfModifyingTitansLayer extends Sublayer {
  /** The fixed projection of queries, weight [hidden, hidden], no bias. */
  q_proj: Linear;
  /** The memory that is read, [H, D, D]. */
  W_m: Tensor;
  /** The memory that makes values, [H, D, D]. */
  W_v: Tensor;
  /** The memory that makes keys, [H, D, D]. */
  W_k: Tensor;
  /** The memory that makes learning rates, [H, D, 1]. */
  w_eta: Tensor;
  /** The memory that makes retentions, [H, D, 1]. */
  w_alpha: Tensor;
  /** From the heads to the output, weight [hidden, hidden], no bias. */
  o_proj: Linear;
  /** Options of the rule. */
  readonly rule: SelfModifyingTitansOptions;

  constructor(hiddenSize: number, numHeads: number, options: SelfModifyingTitansLayerOptions = {}) {
    checkObject(new.target.name, 'options', options);
    const { arrangement = 'pre', qkL2Norm, etaBias, alphaBias, dropout, normEps, ...where } = options;
    super(hiddenSize, numHeads, arrangement, { dropout, normEps, ...where });
    this.rule = { qkL2Norm, etaBias, alphaBias };
    const D = this.headDim;
    const draw = (): Tensor => parameter(noGrad(() => randn([numHeads, D, D], { std: D ** -0.5, ...where })));
    const none = (): Tensor => parameter(zeros([numHeads, D, 1], where));
    this.q_proj = new Linear(hiddenSize, hiddenSize, { bias: false, ...where });
    this.W_m = draw();
    this.W_v = draw();
    this.W_k = draw();
    this.w_eta = none();
    this.w_alpha = none();
    this.o_proj = new Linear(hiddenSize, hiddenSize, { bias: false, ...where });
  }

  protected get reference(): Tensor {
    return this.W_m;
  }

  protected get stateShapes(): Record<string, readonly number[]> {
    const { numHeads: H, headDim: D } = this;
    return { shiftM: [H, D, D], shiftV: [H, D, D], shiftK: [H, D, D], shiftEta: [H, D, 1], shiftAlpha: [H, D, 1] };
  }

  protected memory(x: Tensor, { state, outputState, cuSeqlens }: MemoryOptions): SequenceResult<MemoryState> {
    const options = { ...this.rule, cuSeqlens, outputFinalState: outputState };
    const result = selfModifyingTitans({ ...this.operands(x), ...state }, options);
    const output = this.o_proj.forward(mergeHeads(result.output));
    return outputState ? { output, state: statesAfter(result) } : { output };
  }

  protected override memoryStep(x: Tensor, state: MemoryState): Tensor {
    const read = selfModifyingTitans.step(this.operands(x), { ...this.rule, state });
    return this.o_proj.forward(mergeHeads(read));
  }

  private operands(x: Tensor): Parameters<typeof selfModifyingTitans>[0] {
    const { W_m: wM, W_v: wV, W_k: wK, w_eta: wEta, w_alpha: wAlpha, numHeads } = this;
    const q = splitHeads(this.q_proj.forward(x), numHeads);
    return { x: splitHeads(x, numHeads), q, wM, wV, wK, wEta, wAlpha };
  }
}
