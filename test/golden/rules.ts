// Rules: functions of the package root under the name in the file. With q, k, v: rule(q, k, v, { options, other inputs });
// else rule({ inputs }, options).
import * as fw from '../../lib';
import { asksForFinals, type CaseRunner } from '../support/runCase';

type Given = Record<string, unknown>;
type Result = Record<string, fw.Tensor | undefined>;
type AnyRule = ((q: unknown, k: unknown, v: unknown, options: Given) => Result) &
  ((inputs: Given, options: Given) => Result);

const root = fw as unknown as Readonly<Record<string, unknown>>;

/** Calls the rule of a file as its README says; `more` options are those of a test. */
export const runRule =
  (more: Given = {}): CaseRunner =>
  ({ q, k, v, cuSeqlens, ...inputs }, given, file) => {
    const rule = root[file.metadata.rule] as AnyRule;
    const finals = asksForFinals(file) && { outputFinalState: true };
    const packed = cuSeqlens && { cuSeqlens: [...cuSeqlens.dataSync()] };
    const options = { ...given, ...finals, ...packed, ...more };
    if (q && k && v) return rule(q, k, v, { ...options, ...inputs });
    const named = Object.entries({ q, k, v, ...inputs }).filter(([, t]) => t);
    return rule(Object.fromEntries(named), options);
  };

/** Whether the package root has a function of this name. */
export function isRule(name: string): boolean {
  return Object.hasOwn(root, name) && typeof root[name] === 'function';
}
