// From the rule that a file names to what runs it: the one way to run a vector.
import { goldenCases } from '../support/golden';
import { type CaseRunner, describeCases } from '../support/runCase';
import { LAYERS } from './layers';
import { OPERATORS } from './operators';
import { isRule, runRule } from './rules';

/** What runs the files of a rule; undefined where the library has nothing of that name. */
export function adapterOf(rule: string): CaseRunner | undefined {
  for (const table of [OPERATORS, LAYERS]) if (Object.hasOwn(table, rule)) return table[rule];
  return isRule(rule) ? runRule() : undefined;
}

/** Runs a file by its table. */
export const runVector: CaseRunner = (inputs, options, file) => {
  const rule = file.metadata.rule ?? 'none';
  const adapter = adapterOf(rule);
  if (!adapter) throw new Error(`unknown rule ${rule}`);
  return adapter(inputs, options, file);
};

/** Tests of folders of vectors, one for every case and target. */
export function describeFolders(...folders: string[]): void {
  for (const folder of folders) describeCases(`golden/${folder}`, goldenCases(folder), runVector);
}

/** The same for vectors that take many small operators, with the checks off. */
export function describeLong(...folders: string[]): void {
  for (const folder of folders) describeCases(`golden/${folder}`, goldenCases(folder), runVector, false);
}
