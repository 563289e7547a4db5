// Operators against vectors computed with the authors' own programs.
import * as fw from '../../lib';
import { goldenCases } from '../support/golden';
import { type CaseRunner, describeCases } from '../support/runCase';

const featureMap: CaseRunner = ({ x, ...inputs }, options) => ({ output: fw.featureMap(x, { ...options, ...inputs }) });

const norms: CaseRunner = ({ x, weight, bias, z, residual }, options, file) => {
  const { eps, numGroups } = options as { eps: number; numGroups: number };
  switch (file.metadata.rule) {
    case 'layerNorm':
      return { output: fw.layerNorm(x, weight, bias, eps) };
    case 'rmsNorm':
      return { output: fw.rmsNorm(x, weight, { eps, bias, residual }) };
    case 'l2Norm':
      return { output: fw.l2Norm(x, eps) };
    case 'groupNorm':
      return { output: fw.groupNorm(x, numGroups, weight, bias, eps) };
    default:
      return { output: fw.rmsNormGated(x, z, weight, options) };
  }
};

const lstm: CaseRunner = ({ x, initialHidden, initialCell, ...weights }, { layers }) => {
  const parts = Array.from({ length: layers as number }, (_, l) => ({
    weightIh: weights[`weightIh${l}`],
    weightHh: weights[`weightHh${l}`],
    biasIh: weights[`biasIh${l}`],
    biasHh: weights[`biasHh${l}`],
  }));
  const initial = initialHidden && { hidden: initialHidden, cell: initialCell };
  const { output, finalState } = fw.lstm(x, parts, initial);
  return { output, finalHidden: finalState.hidden, finalCell: finalState.cell };
};

const list = (t: fw.Tensor | undefined): number[] | undefined => t && [...t.dataSync()];

describeCases('golden/featureMaps', goldenCases('featureMaps'), featureMap);
describeCases('golden/featureMaps2021', goldenCases('featureMaps2021'), featureMap);
describeCases('golden/norms', goldenCases('norms'), norms);
describeCases('golden/lstm', goldenCases('lstm'), lstm);
describeCases(
  'golden/shortConvolution',
  goldenCases('shortConvolution'),
  ({ x, weight, cuSeqlens, ...inputs }, options) => {
    const { output, finalState } = fw.shortConvolution(x, weight, {
      ...options,
      ...inputs,
      cuSeqlens: list(cuSeqlens),
    });
    return { output, finalState };
  },
);
describeCases(
  'golden/crossEntropy',
  goldenCases('crossEntropy'),
  ({ logits, hidden, weight, bias, target }, options) => ({
    loss: fw.crossEntropy(logits ?? fw.linear(hidden, weight, bias), target, options),
  }),
);
describeCases('golden/softmaxAttention', goldenCases('softmaxAttention'), ({ q, k, v, cuSeqlens }, options) => ({
  output: fw.softmaxAttention(q, k, v, { ...options, cuSeqlens: list(cuSeqlens) }),
}));
describeCases('golden/rope', goldenCases('rope'), ({ x }, options) => ({ output: fw.rope(x, options) }));
