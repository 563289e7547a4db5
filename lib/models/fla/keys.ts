// Keys that the configurations of flash-linear-attention share.
import type { OptionNames } from '../../core';
import type { AttentionKeys, CommonKeys, Count, EitherSpelling, Flag, Name } from '../common/keys';

/** What the models of flash-linear-attention share. */
export interface FlaKeys<T extends string = string> extends CommonKeys<T> {
  intermediateSize?: Count;
  hiddenRatio?: Count;
  hiddenAct?: Name<'swish' | 'silu'>;
  normEps?: Count;
  elementwiseAffine?: true | null;
  attnresBlockSize?: null;
  attn?: EitherSpelling<AttentionKeys> | readonly EitherSpelling<AttentionKeys>[] | null;
  fuseNorm?: Flag;
  attnMode?: Name;
  fuseSwiglu?: Flag;
  fuseCrossEntropy?: Flag;
  fuseLinearCrossEntropy?: Flag;
  useL2warp?: Flag;
}

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
  numHeads?: Count;
  numKvHeads?: Count;
  expandK?: Count;
  expandV?: Count;
}

export const HEAD_KEYS: OptionNames<HeadKeys> = { numHeads: true, numKvHeads: true, expandK: true, expandV: true };

/** Convolutions in front of q, k and v. */
export interface ConvolutionKeys {
  useShortConv?: Flag;
  convSize?: Count;
}

export const CONVOLUTION_KEYS: OptionNames<ConvolutionKeys> = { useShortConv: 'flag', convSize: true };
