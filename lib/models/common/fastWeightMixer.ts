// The common part of the fast-weight mixers: from x to the operands of a rule, the rule, and its read-out, written once
// for whole sequences and for single tokens.
import { FastWeightsError, type Tensor } from '../../core';
import type { ShortConvolution } from '../../nn';
import { type CuSeqlens, needsFloat32, rope, toFloat32, zeros } from '../../ops';
import { checkSequence, Recurrent, type SequenceOptions, type SequenceResult, stateDType } from './mixer';

/** What a fast-weight mixer remembers. */
export type FastWeightState = {
  /** The fast weights [B, HV, K, V]. */
  memory: Tensor;
  /** Sum of the keys [B, HV, K], where the read-out is divided by it. */
  normalizer: Tensor | null;
  /** The last W - 1 inputs of each convolution [B, D, W - 1]. */
  convolutions: { [name: string]: Tensor };
  /** Tokens so far. */
  position: number;
};

/** Operands of a rule, q [..., H, K], v [..., HV, V], and its options. */
export interface RuleInputs {
  /** Queries [B, T, H, K], in a step [B, H, K], as after feature map and rotation; HV is a multiple of H. */
  q: Tensor;
  /** Keys, of the shape of the queries. */
  k: Tensor;
  /** Values [B, T, HV, V], in a step [B, HV, V]. */
  v: Tensor;
  /** float32 in bfloat16 models, too, like the strength. */
  gate?: Tensor | null;
  /** Strength of the write [..., HV]; 1 where there is none. Only delta rules take it. */
  beta?: Tensor | null;
  /** The rule divides q and k by sqrt(sum x^2 + 1e-6), which is not done to those that stand here; false by default. */
  qkL2Norm?: boolean;
  /**
   * The rule divides q and k by their sums (Schlag et al. 2021), which is not done to those that stand here; false by
   * default.
   */
  sumNorm?: boolean;
  /** The rule divides its output by scale q . z + normalizeEps, z the sum of keys so far; false by default. */
  normalize?: boolean;
  /** At least 0; by default 1e-10 in linear attention, 1e-5 in the delta rule. */
  normalizeEps?: number;
  /** Multiplies the output; K ** -0.5 by default. */
  scale?: number;
  /** What `readout` needs of the same projections, such as the gate of the output; no rule sees it. */
  carry?: Tensor | null;
}

type RuleOptions = Omit<RuleInputs, 'q' | 'k' | 'v' | 'carry'>;
type SequenceRuleOptions = RuleOptions & {
  initialState?: Tensor | null;
  initialNormalizer?: Tensor | null;
  outputFinalState?: boolean;
  cuSeqlens?: CuSeqlens | null;
};

/** A rule of `rules/`, as far as a mixer uses it. */
export interface MixerRule {
  (
    q: Tensor,
    k: Tensor,
    v: Tensor,
    options: SequenceRuleOptions,
  ): { output: Tensor; finalState?: Tensor; finalNormalizer?: Tensor };
  step(q: Tensor, k: Tensor, v: Tensor, options: RuleOptions & { state: Tensor; normalizer?: Tensor }): Tensor;
}

/** How the inputs of a rule look back in time: over a sequence, or at the state of a step. */
export interface Past {
  /** x [..., D] through a causal convolution. */
  convolve(name: string, convolution: ShortConvolution, x: Tensor): Tensor;
  /** x [..., H, K] turned by its position. */
  rotate(x: Tensor): Tensor;
}

/** Sizes of the fast weights. */
export interface MemorySizes {
  /** HV */
  heads: number;
  /** K: width of a head's keys as the rule gets them, behind the feature map. */
  keyDim: number;
  /** V: width of a head's values, and of what a query reads. */
  valueDim: number;
}

/** Where the device does not compute in bfloat16, the norms of a rule need not round either. */
export function computable(t: Tensor): Tensor {
  return needsFloat32(t) ? toFloat32(t) : t;
}

/**
 * Base of the layers with a fast-weight memory. A subclass says how x becomes the operands of a rule (`inputs`) and how
 * the rule's output becomes the layer's (`readout`); both forms and the state come from here.
 */
export abstract class FastWeightMixer extends Recurrent<FastWeightState> {
  protected abstract readonly rule: MixerRule;
  /** Whether the state holds the sum of keys, too. */
  protected readonly normalizes: boolean = false;
  constructor(
    /** Of the memory: a state holds [B, heads, keyDim, valueDim]. */
    readonly sizes: MemorySizes,
  ) {
    super();
  }

  /** The weight whose dtype and device the states follow. */
  protected abstract get reference(): Tensor;

  /** Convolutions by the name of their state. */
  protected get convolutions(): Record<string, ShortConvolution | null> {
    return {};
  }

  /** x [..., hidden] to the rule's operands. */
  protected abstract inputs(x: Tensor, past: Past): RuleInputs;

  /** The rule's output [..., HV, V] to [..., hidden]; `carry` is what `inputs` gave under this name. */
  protected abstract readout(output: Tensor, x: Tensor, carry: Tensor | null): Tensor;

  forward(x: Tensor, options: SequenceOptions<FastWeightState> = {}): SequenceResult<FastWeightState> {
    checkSequence('forward', options);
    const { state = null, outputState = false, cuSeqlens = null } = options;
    const convolutions: Record<string, Tensor> = {};
    const position = state?.position ?? 0;
    const inputs = this.inputs(x, {
      convolve: (name, convolution, input) => {
        const initialState = state?.convolutions[name] ?? null;
        const result = convolution.forward(input, { initialState, outputFinalState: outputState, cuSeqlens });
        if (result.finalState) convolutions[name] = result.finalState.to(stateDType(this.reference));
        return result.output;
      },
      rotate: (input) => {
        if (cuSeqlens && (state || outputState)) {
          const message = 'rotary positions: packed sequences have no common position to go on from';
          throw new FastWeightsError('UNSUPPORTED', message, { argument: 'cuSeqlens' });
        }
        return rope(input, { offset: position, cuSeqlens });
      },
    });
    const { q, k, v, carry = null, ...rest } = inputs;
    const { output, finalState, finalNormalizer } = this.rule(computable(q), computable(k), computable(v), {
      ...rest,
      initialState: state?.memory ?? null,
      ...(this.normalizes && { initialNormalizer: state?.normalizer ?? null }),
      outputFinalState: outputState,
      cuSeqlens,
    });
    const result = this.readout(output.to(x.dtype), x, carry);
    if (!finalState) return { output: result };
    return {
      output: result,
      state: {
        memory: finalState.contiguous(),
        normalizer: finalNormalizer?.contiguous() ?? null,
        convolutions,
        position: position + x.shape[1],
      },
    };
  }

  step(x: Tensor, state: FastWeightState): Tensor {
    const inputs = this.inputs(x, {
      convolve: (name, convolution, input) => convolution.step(input, state.convolutions[name]),
      rotate: (input) => rope(input.unsqueeze(1), { offset: state.position }).squeeze(1),
    });
    const { q, k, v, carry = null, ...rest } = inputs;
    const { memory, normalizer } = state;
    const output = this.rule.step(computable(q), computable(k), computable(v), {
      ...rest,
      state: memory,
      ...(normalizer && { normalizer }),
    });
    state.position++;
    return this.readout(output.to(x.dtype), x, carry);
  }

  initialState(batch: number): FastWeightState {
    const { heads, keyDim, valueDim } = this.sizes;
    const where = { device: this.reference.device, dtype: stateDType(this.reference) };
    const convolutions: Record<string, Tensor> = {};
    for (const [name, convolution] of Object.entries(this.convolutions)) {
      if (convolution) convolutions[name] = convolution.initialState(batch);
    }
    return {
      memory: zeros([batch, heads, keyDim, valueDim], where),
      normalizer: this.normalizes ? zeros([batch, heads, keyDim], where) : null,
      convolutions,
      position: 0,
    };
  }
}
