// Long sequences of fewer heads than there are threads, which share them out: the same bits as on one thread, and right.
import { expect } from 'chai';
import * as fw from '../../lib';
import { Draw, type HostInputs, hostInputs, RULES, type RuleCase, type Sizes } from '../support/ruleInputs';
import { expectCloseRuns, runRule, type RuleRun, type RuleSetting } from '../support/ruleRuns';

/** Neither whole segments between checkpoints, nor whole vectors of keys. */
const SIZES: Sizes = { B: 1, T: 345, H: 1, HV: 1, K: 60, V: 66 };

/** Beside the long sequence one that a single thread takes. */
const VARIANTS: Record<string, RuleSetting> = {
  'one sequence': {},
  'a short one beside it': { cuSeqlens: [0, 320, 345] },
};

/** Gates are weak, so that their gradients go from chunk to chunk, but every 97th all but clears the state. */
function inputsOf(rule: RuleCase, sequences: number): HostInputs {
  const inputs = hostInputs(rule, SIZES, 23);
  for (const name of ['gate', 'valueGate'].filter((gate) => gate in inputs)) {
    const { shape, data } = inputs[name];
    const width = data.length / shape[1];
    inputs[name] = { shape, data: data.map((x, i) => (Math.floor(i / width) % 97 === 96 ? -40 : x / 32)) };
  }
  return { ...inputs, initialState: new Draw(24).uniform([sequences, 1, SIZES.K, SIZES.V], -1, 1) };
}

const cpu = { device: 'cpu', dtype: 'float32' } as const;

if (fw.devices().some((d) => d.device === 'cpu' && d.available)) {
  for (const rule of RULES) {
    describe(`few heads on many threads: ${rule.name}`, () => {
      after(() => fw.setNumThreads(2));

      for (const [title, setting] of Object.entries(VARIANTS)) {
        it(title, () => {
          const host = inputsOf(rule, setting.cuSeqlens ? 2 : 1);
          const run = (threads: number): RuleRun => {
            fw.setNumThreads(threads);
            return runRule(rule, setting, host, cpu, 'chunk');
          };
          const alone = run(1);
          for (const threads of [2, 5]) expect(run(threads), `${threads} threads`).to.deep.equal(alone);
          const reference = runRule(rule, setting, host, { device: 'js', dtype: 'float64' }, 'recurrent');
          expectCloseRuns(alone, reference, 'float32');
        });
      }
    });
  }
}
