// Keys that the configurations of flash-linear-attention share.
import type { OptionNames } from '../../core';
import type { AttentionKeys, CommonKeys, Count, EitherSpelling, Flag, Name } from '../common/keys';

/** What the models of flash-linear-attention share. */
export interface FlaKeys<T extends string = string> extends CommonKeys<T> {
  /** Rows of `gate_proj` and `up_proj` in the SwiGLU of each block; by default as `hiddenRatio` says. */
  intermediateSize?: Count;
  /**
   * Without `intermediateSize` the feed-forward is 2/3 of hiddenRatio times the hidden size wide, rounded up to a
   * multiple of 256; by default 4, in RetNet 2.
   */
  hiddenRatio?: Count;
  /**
   * Two names of one function, 'swish' by default; in RetNet and GLA 'silu' calls the norm of the output `g_norm`, see
   * `fuseNorm`.
   */
  hiddenAct?: Name<'swish' | 'silu'>;
  /** Added to the mean square in every RMSNorm, 1e-6 by default. */
  normEps?: Count;
  /** true alone: every norm has a weight for each channel; false is UNSUPPORTED. */
  elementwiseAffine?: true | null;
  /** null alone: a size, whatever it is, is refused as UNSUPPORTED. */
  attnresBlockSize?: null;
  /**
   * Hybrid models: which layers, counted from 0, are softmax attention instead, and its heads; a list where they
   * differ. None by default.
   */
  attn?: EitherSpelling<AttentionKeys> | readonly EitherSpelling<AttentionKeys>[] | null;
  /**
   * In RetNet and GLA, whether norm and gate of the output are one module among the weights: `g_norm_swish_gate` (true,
   * the default), or `g_norm`. The result is the same.
   */
  fuseNorm?: Flag;
  /** Changes nothing here: it chooses between kernels that compute the same. It is saved again. */
  attnMode?: Name;
  /** Changes nothing here: the feed-forward is fused wherever it can be. It is saved again. */
  fuseSwiglu?: Flag;
  /** Changes nothing here: it chooses a kernel of the loss. It is saved again. */
  fuseCrossEntropy?: Flag;
  /** Changes nothing here: logits are always returned. It is saved again. */
  fuseLinearCrossEntropy?: Flag;
  /** Changes nothing here: the loss has no such term. It is saved again. */
  useL2warp?: Flag;
}

/** The names of `FlaKeys`, for the `keys` of a family of one's own that `readFla` reads. */
export const FLA_KEYS: OptionNames<Omit<FlaKeys, keyof CommonKeys>> = {
  intermediateSize: true,
  hiddenRatio: true,
  hiddenAct: true,
  normEps: true,
  elementwiseAffine: 'flag',
  attnresBlockSize: true,
  attn: true,
  fuseNorm: 'flag',
  attnMode: true,
  fuseSwiglu: 'flag',
  fuseCrossEntropy: 'flag',
  fuseLinearCrossEntropy: 'flag',
  useL2warp: 'flag',
};

/** Heads whose widths are shares of the hidden size. */
export interface HeadKeys {
  /** Heads of queries; 4 by default, in RetNet 8, in DeltaNet 16. */
  numHeads?: Count;
  /**
   * Heads of keys and values, a divisor of numHeads, each for consecutive query heads; numHeads by default. DeltaNet
   * has numHeads of them in any case.
   */
  numKvHeads?: Count;
  /**
   * Width of all queries over the hidden size; by default 1, in GLA 0.5. Each head gets its share, which must be whole.
   */
  expandK?: Count;
  /**
   * Width of all heads' outputs over the hidden size; by default 1, in RetNet 2. Each head gets its share, which must
   * be whole.
   */
  expandV?: Count;
}

/** The names of `HeadKeys`, for the `keys` of a family of one's own that `readHeads` reads. */
export const HEAD_KEYS: OptionNames<HeadKeys> = { numHeads: true, numKvHeads: true, expandK: true, expandV: true };

/** Convolutions in front of q, k and v. */
export interface ConvolutionKeys {
  useShortConv?: Flag;
  convSize?: Count;
}

export const CONVOLUTION_KEYS: OptionNames<ConvolutionKeys> = { useShortConv: 'flag', convSize: true };
