// Operators, whose form is the library's own.
import * as fw from '../../lib';
import type { CaseRunner } from '../support/runCase';
import { RECURRENT_PARTS } from './recurrentParts';

const list = (t: fw.Tensor | undefined): number[] | undefined => t && [...t.dataSync()];

interface NormOptions {
  eps?: number;
  numGroups: number;
}

/** By the rule in the file. */
export const OPERATORS: Readonly<Record<string, CaseRunner>> = {
  ...RECURRENT_PARTS,
  crossEntropy: ({ logits, hidden, weight, bias, target }, options) => ({
    loss: fw.crossEntropy(logits ?? fw.linear(hidden, weight, bias), target, options),
  }),
  featureMap: ({ x, ...inputs }, options) => ({ output: fw.featureMap(x, { ...options, ...inputs }) }),
  groupNorm: ({ x, weight, bias }, options) => {
    const { eps, numGroups } = options as unknown as NormOptions;
    return { output: fw.groupNorm(x, numGroups, weight, bias, eps) };
  },
  l2Norm: ({ x }, { eps }) => ({ output: fw.l2Norm(x, eps as number) }),
  layerNorm: ({ x, weight, bias }, { eps }) => ({ output: fw.layerNorm(x, weight, bias, eps as number) }),
  rmsNorm: ({ x, weight, bias, residual }, { eps }) => ({
    output: fw.rmsNorm(x, weight, { eps: eps as number, bias, residual }),
  }),
  rmsNormGated: ({ x, z, weight }, options) => ({ output: fw.rmsNormGated(x, z, weight, options) }),
  rope: ({ x }, options) => ({ output: fw.rope(x, options) }),
  shortConvolution: ({ x, weight, cuSeqlens, ...inputs }, options) => {
    const given = { ...options, ...inputs, cuSeqlens: list(cuSeqlens) };
    const { output, finalState } = fw.shortConvolution(x, weight, given);
    return { output, finalState };
  },
  softmaxAttention: ({ q, k, v, cuSeqlens }, options) => ({
    output: fw.softmaxAttention(q, k, v, { ...options, cuSeqlens: list(cuSeqlens) }),
  }),
};
