// One program from its seed and number: made, run on the reference and on a device, compared; a failing one is shrunk.
import * as fw from '../../lib';
import type { Target } from '../support/golden';
import { Builder, REFERENCE } from './builder';
import { compare } from './compare';
import { execute, Fault, type Outcome, type Program, type Step } from './program';
import { STEPS } from './steps';

/** Which kinds of steps and values programs have. */
export interface Choice {
  /** Only these kinds of steps; all of them when there are none. */
  only: readonly string[];
  /** Neither these kinds of steps nor these aspects. */
  without: readonly string[];
}

export interface Made {
  program: Program;
  /** What the reference made of it, where that is known already. */
  reference?: Outcome;
}

/** Makes a program, which the reference runs on the way. */
export function make(seed: number, number: number, choice: Choice): Made {
  return fw.scope(() => {
    const builder = new Builder(seed, number, (kind) => !choice.without.includes(kind));
    try {
      addSteps(builder, choice);
      const program = builder.program();
      return { program, reference: builder.machine.finish(program) };
    } catch {
      // Wrong on the reference already; `check` runs it again and says how.
      return { program: builder.program() };
    }
  });
}

function addSteps(builder: Builder, { only, without }: Choice): void {
  const kinds = Object.entries(STEPS).filter(
    ([name]) => !without.includes(name) && (only.length === 0 || only.includes(name)),
  );
  const total = kinds.reduce((sum, [, { weight }]) => sum + weight, 0);
  const length = builder.random.pick([1, 1, 2, 3, 4, 6, 10, 15]);
  for (let i = 0; i < length; i++) {
    let at = builder.random.next() * total;
    const [, kind] = kinds.find(([, { weight }]) => (at -= weight) < 0) ?? kinds[0];
    kind.emit(builder);
  }
}

/** Runs a program on a device; what is wrong with it, or undefined. */
export function check({ program, reference }: Made, where: Target, before?: (text: string) => void): Fault | undefined {
  try {
    compare(program, reference ?? execute(program, REFERENCE), execute(program, where, { before }), where);
  } catch (error) {
    return error instanceof Fault ? error : new Fault(`threw ${(error as Error).stack}`);
  }
}

/** Steps left out as long as the program still fails: first what the wrong step does not need, then one after another. */
export function shrink(made: Made, fault: Fault, where: Target): Made {
  const { steps } = made.program;
  let smallest = made;
  const attempt = (kept: Step[]): void => {
    const smaller = { program: { ...made.program, steps: kept } };
    if (check(smaller, where)) smallest = smaller;
  };
  if (fault.step) attempt(neededBy(fault.step, steps));
  for (const step of [...smallest.program.steps].reverse()) {
    if (smallest.program.steps.includes(step)) attempt(without(step, smallest.program.steps));
  }
  return smallest;
}

function neededBy(step: Step, steps: readonly Step[]): Step[] {
  const needed = new Set(step.inputs);
  return steps
    .slice(0, steps.indexOf(step))
    .reverse()
    .filter((other) => {
      const needs = other.outputs.some((id) => needed.has(id));
      if (needs) other.inputs.forEach((id) => needed.add(id));
      return needs;
    })
    .reverse()
    .concat(step);
}

/** The steps without one, and without what comes from it. */
function without(step: Step, steps: readonly Step[]): Step[] {
  const lost = new Set<number>();
  return steps.filter((other) => {
    const gone = other === step || other.inputs.some((id) => lost.has(id));
    if (gone) other.outputs.forEach((id) => lost.add(id));
    return !gone;
  });
}

/** A program as one would write it. */
export function listing({ recorded, steps, roots }: Program): string {
  const lines = steps.map(({ text, outputs }) => `  ${outputs.map((id) => `t${id}`).join(', ') || '-'} = ${text}`);
  const there = roots.filter((id) => steps.some(({ outputs }) => outputs.includes(id)));
  const end = recorded ? [`  backward from ${there.map((id) => `t${id}`).join(', ')}`] : [];
  return [recorded ? 'recorded:' : 'inside noGrad:', ...lines, ...end].join('\n');
}
