// Mixers with a fast-weight matrix: those around a setting of the general recurrence.
import type { Device, DType, Tensor } from '../../core';
import { type CuSeqlens, zeros } from '../../ops';
import { computable, RuleMixer, type RunOptions, type WithRecent } from './ruleMixer';

export { computable, type Past } from './ruleMixer';

type FastWeights = {
  /** The fast weights [B, HV, K, V]. */
  memory: Tensor;
  /** Sum of the keys [B, HV, K], where the read-out is divided by it. */
  normalizer: Tensor | null;
  /** The curvature of the keys [B, H, K], where the rule keeps one. */
  preconditioner?: Tensor;
};

/** What a fast-weight mixer remembers. */
export type FastWeightState = WithRecent<FastWeights>;

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
  /** What the read-out needs of the same projections, such as the gate of the output; no rule sees it. */
  carry?: Tensor | null;
}

type RuleOptions<I extends RuleInputs> = Omit<I, 'q' | 'k' | 'v' | 'carry'>;
type SequenceRuleOptions<I extends RuleInputs> = RuleOptions<I> & {
  initialState?: Tensor | null;
  initialNormalizer?: Tensor | null;
  initialPreconditioner?: Tensor | null;
  outputFinalState?: boolean;
  cuSeqlens?: CuSeqlens | null;
};

/** A rule of `rules/`, as far as a mixer uses it; I are its operands and options. */
export interface MixerRule<I extends RuleInputs = RuleInputs> {
  (
    q: Tensor,
    k: Tensor,
    v: Tensor,
    options: SequenceRuleOptions<I>,
  ): { output: Tensor; finalState?: Tensor; finalNormalizer?: Tensor; finalPreconditioner?: Tensor };
  step(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    options: RuleOptions<I> & { state: Tensor; normalizer?: Tensor; preconditioner?: Tensor },
  ): Tensor;
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

/**
 * Base of the layers with a fast-weight memory. A subclass says how x becomes the operands of a rule (`inputs`) and how
 * the rule's output becomes the layer's (`readout`); both forms and the state come from here. I are the operands of a rule
 * that has others beside those of `RuleInputs`.
 */
export abstract class FastWeightMixer<I extends RuleInputs = RuleInputs> extends RuleMixer<I, FastWeights> {
  protected abstract readonly rule: MixerRule<I>;
  /** Whether the state holds the sum of keys, too. */
  protected readonly normalizes: boolean = false;
  /** Heads H of the curvature that the state holds, too; none by default. */
  protected readonly preconditions: number | null = null;

  constructor(
    /** Of the memory: a state holds [B, heads, keyDim, valueDim]. */
    readonly sizes: MemorySizes,
  ) {
    super();
  }

  protected run(
    inputs: I,
    memories: FastWeights | null,
    options: RunOptions,
  ): { output: Tensor; memories?: FastWeights } {
    const { q, k, v, carry: _, ...rest } = inputs;
    const { output, finalState, finalNormalizer, finalPreconditioner } = this.rule(
      computable(q),
      computable(k),
      computable(v),
      {
        ...rest,
        initialState: memories?.memory ?? null,
        ...(this.normalizes && { initialNormalizer: memories?.normalizer ?? null }),
        ...(this.preconditions !== null && { initialPreconditioner: memories?.preconditioner ?? null }),
        ...options,
      },
    );
    if (!finalState) return { output };
    return {
      output,
      memories: {
        memory: finalState.contiguous(),
        normalizer: finalNormalizer?.contiguous() ?? null,
        ...(finalPreconditioner && { preconditioner: finalPreconditioner.contiguous() }),
      },
    };
  }

  protected runToken(inputs: I, { memory, normalizer, preconditioner }: FastWeights): Tensor {
    const { q, k, v, carry: _, ...rest } = inputs;
    return this.rule.step(computable(q), computable(k), computable(v), {
      ...rest,
      state: memory,
      ...(normalizer && { normalizer }),
      ...(preconditioner && { preconditioner }),
    });
  }

  protected blank(batch: number, where: { device: Device; dtype: DType }): FastWeights {
    const { heads, keyDim, valueDim } = this.sizes;
    return {
      memory: zeros([batch, heads, keyDim, valueDim], where),
      normalizer: this.normalizes ? zeros([batch, heads, keyDim], where) : null,
      ...(this.preconditions !== null && { preconditioner: zeros([batch, this.preconditions, keyDim], where) }),
    };
  }
}
