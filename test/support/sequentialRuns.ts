// Rules that carry states, over whole sequences, over parts of them and one token at a time.
import { expect } from 'chai';
import * as fw from '../../lib';
import type { Target } from './golden';
import { expectClose, toleranceOf } from './tolerance';

type Named = Record<string, fw.Tensor>;

export interface SequentialCase {
  title: string;
  rule: (inputs: object, options: object) => object;
  step: (inputs: object, options: object) => fw.Tensor;
  /** Inputs for T tokens, drawn from the seeded generator; those per token are named by `tokens`. */
  inputs: (T: number, where: Target) => Named;
  tokens: readonly string[];
  /** What each state is called among the inputs. */
  states: Readonly<Record<string, string>>;
  options: object;
  /** Where time stands in tokens and output: 1, or 0 without a batch. */
  time?: 0 | 1;
}

const final = (state: string): string => `final${state[0].toUpperCase()}${state.slice(1)}`;

/** Requires the same of a sequence at once, of two parts of it, and of one part followed by single tokens. */
export function expectSameInParts(c: SequentialCase, where: Target, T: number, at: number): void {
  const time = c.time ?? 1;
  const close = (name: string, actual: fw.Tensor, expected: fw.Tensor): void =>
    expectClose(name, actual.dataSync(), expected.dataSync(), toleranceOf(where.dtype).forward);
  fw.noGrad(() =>
    fw.scope(() => {
      const inputs = c.inputs(T, where);
      const run = (from: number, to: number, carried: Named): Named => {
        const part = c.tokens.map((name) => [name, inputs[name].slice(time, from, to)]);
        const given = { ...inputs, ...Object.fromEntries(part), ...carried };
        return c.rule(given, { ...c.options, outputFinalState: true }) as Named;
      };
      const statesOf = (result: Named): Named =>
        Object.fromEntries(Object.keys(c.states).map((state) => [state, result[final(state)]]));
      const asInitial = (states: Named): Named =>
        Object.fromEntries(Object.entries(states).map(([state, t]) => [c.states[state], t]));
      const whole = run(0, T, {});
      const first = run(0, at, {});
      const second = run(at, T, asInitial(statesOf(first)));
      close('output in two parts', fw.cat([first.output, second.output], time), whole.output);
      const state = Object.fromEntries(Object.entries(statesOf(first)).map(([name, t]) => [name, t.clone()]));
      const fixed = Object.entries(inputs).filter(
        ([name]) => !c.tokens.includes(name) && !Object.values(c.states).includes(name),
      );
      for (let t = at; t < T; t++) {
        const token = c.tokens.map((name) => [name, inputs[name].select(time, t)]);
        const output = c.step(Object.fromEntries([...fixed, ...token]), { ...c.options, state });
        close(`output of token ${t}`, output, whole.output.select(time, t));
      }
      for (const [name, t] of Object.entries(state)) {
        close(`${name} after the steps`, t, whole[final(name)]);
        close(`${name} after two parts`, second[final(name)], whole[final(name)]);
      }
      expect(Object.keys(whole).sort()).to.eql(['output', ...Object.keys(c.states).map(final)].sort());
    }),
  );
}
