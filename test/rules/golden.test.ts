// Every rule with inputs q, k, v against vectors computed with the authors' own programs.
import { goldenCases } from '../support/golden';
import { describeCases } from '../support/runCase';
import { runRule } from '../golden/rules';

const FOLDERS = [
  'deltaRule',
  'delta2021',
  'linearAttention',
  'linear2021',
  'gatedLinearAttention',
  'retention',
  'lightningAttention',
  'deltaProduct',
  'generalizedDeltaRule',
  'ojaRule',
  'comba',
  'gatedDeltaRule2',
  'rwkv6',
];

for (const folder of FOLDERS) {
  for (const mode of ['chunk', 'recurrent']) {
    describeCases(`golden/${folder}, mode ${mode}`, goldenCases(folder), runRule({ mode }));
  }
}
