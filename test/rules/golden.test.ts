// Every rule against vectors computed with the authors' own programs.
import * as fw from '../../lib';
import { goldenCases } from '../support/golden';
import { type CaseRunner, describeCases } from '../support/runCase';

/** Rules whose inputs are q, k, v. */
const FOLDERS = [
  'deltaRule',
  'delta2021',
  'linearAttention',
  'linear2021',
  'gatedLinearAttention',
  'retention',
  'deltaProduct',
  'generalizedDeltaRule',
  'ojaRule',
  'comba',
  'gatedDeltaRule2',
  'rwkv6',
] as const;

type AnyRule = (q: fw.Tensor, k: fw.Tensor, v: fw.Tensor, options: object) => Record<string, fw.Tensor | undefined>;

const runRule =
  (mode: 'chunk' | 'recurrent'): CaseRunner =>
  ({ q, k, v, cuSeqlens, ...inputs }, options, file) => {
    const rule = (fw as unknown as Record<string, AnyRule>)[file.metadata.rule];
    const packed = cuSeqlens && { cuSeqlens: [...cuSeqlens.dataSync()] };
    const outputFinalState = [...file.tensors.keys()].some((name) => name.startsWith('out.final'));
    return rule(q, k, v, { ...options, ...inputs, ...packed, outputFinalState, mode });
  };

for (const folder of FOLDERS) {
  for (const mode of ['chunk', 'recurrent'] as const) {
    describeCases(`golden/${folder}, mode ${mode}`, goldenCases(folder), runRule(mode));
  }
}
