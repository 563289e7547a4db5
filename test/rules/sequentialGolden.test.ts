// Rules whose inputs are named tensors, against vectors computed with the authors' own programs.
import * as fw from '../../lib';
import { goldenCases } from '../support/golden';
import { type CaseRunner, describeCases } from '../support/runCase';

/** Rules that the package root has under the name of their folder. */
const FOLDERS = ['fastRnn', 'selfReferential', 'recurrentDelta', 'deltaRnn', 'deltaLstm'] as const;

type AnyRule = (...all: object[]) => Record<string, fw.Tensor | undefined>;

const runRule: CaseRunner = (inputs, options, file) => {
  const rule = (fw as unknown as Record<string, AnyRule>)[file.metadata.rule];
  const outputFinalState = [...file.tensors.keys()].some((name) => name.startsWith('out.final'));
  const { q, k, v, ...further } = inputs;
  if (q && k && v) return rule(q, k, v, { ...options, ...further, outputFinalState });
  return rule(inputs, { ...options, outputFinalState });
};

for (const folder of FOLDERS) describeCases(`golden/${folder}`, goldenCases(folder), runRule);
