// Whether a device made of a program what the reference made of it, and how far off rounding may have led it.
import type { FastWeightsError } from '../../lib';
import { type Target } from '../support/golden';
import { toleranceOf } from '../support/tolerance';
import { REFERENCE, spreads } from './builder';
import {
  allFinite,
  execute,
  Fault,
  type Numbers,
  type Outcome,
  type Program,
  type Step,
  surplus,
  largest,
  typical,
} from './program';
import { Random } from './random';

/** Disturbed runs show what rounding can do: how many there are, and how many of their deviations are allowed. */
const RUNS = 8;
const DEVIATIONS = { forward: 30, gradient: 100 };
/** Numbers this small may be flushed to 0. */
const SMALLEST = 1e-36;

/** Throws a Fault where the outcome is not the reference's. */
export function compare(program: Program, reference: Outcome, actual: Outcome, where: Target): void {
  program.steps.forEach((step, place) => compareRefusals(program, step, place, reference, actual));
  const { forward, gradient } = toleranceOf(where.dtype);
  const disturbed = new Disturbed(program);
  for (const [id, expected] of reference.values) {
    if (program.extreme.has(id)) continue;
    const step = program.steps.find((s) => s.outputs.includes(id))!;
    const found = actual.values.get(id);
    const late = actual.late.get(id);
    if (!found && program.spread.has(id)) continue;
    if (!found) throw new Fault(`t${id} ${late ? `could not be read: ${late.message}` : 'is missing'}`, step);
    if (found.shape.join() !== expected.shape.join())
      throw new Fault(`t${id} has the shape [${found.shape.join(', ')}], not [${expected.shape.join(', ')}]`, step);
    const lenient = program.spread.has(id);
    const runs = (): (Numbers | undefined)[] => disturbed.runs().map((run) => run.values.get(id));
    check(
      `t${id}`,
      found,
      expected,
      { tolerance: forward, deviations: DEVIATIONS.forward, floor: 0, cancelled: 0, lenient, runs },
      step,
    );
  }
  const [refused, expectedRefusal] = [actual.refusals.get('backward'), reference.refusals.get('backward')];
  if (refused?.code !== expectedRefusal?.code)
    throw new Fault(`backward ended in ${ending(refused)}, not ${ending(expectedRefusal)}`);
  if (program.extreme.size > 0) return;
  const lenient = program.spread.size > 0 || (program.steps.some(spreads) && holdsInfinite(reference));
  // What cancels exactly in a gradient leaves the rounding of what cancelled.
  const floor = 1e-2 * Math.max(0, ...reference.gradients.map((g) => typical(g?.data ?? [])));
  const cancelled = 1e-2 * Math.max(0, ...reference.gradients.map((g) => largest(g?.data ?? [])));
  reference.gradients.forEach((expected, i) => {
    const found = actual.gradients[i];
    if (!expected !== !found) throw new Fault(`leaf ${i} has ${found ? 'a' : 'no'} gradient`);
    if (!expected || !found) return;
    const runs = (): (Numbers | undefined)[] => disturbed.runs().map((run) => run.gradients[i] ?? undefined);
    check(`the gradient of leaf ${i}`, found, expected, {
      tolerance: gradient,
      deviations: DEVIATIONS.gradient,
      floor,
      cancelled,
      lenient,
      runs,
    });
  });
}

/** A step refused on the reference is refused on the device with the same code, if only when its results are read. */
function compareRefusals(
  { extreme, spread }: Program,
  step: Step,
  place: number,
  reference: Outcome,
  actual: Outcome,
): void {
  const expected = reference.refusals.get(place);
  const found = actual.refusals.get(place) ?? actual.late.get(step.outputs[0] ?? surplus(place, 0));
  if (step.refused && !expected) throw new Fault('was not refused by the reference', step);
  // Where NaN may have spread a check of values may see it or not.
  const unsure = step.inputs.some((id) => extreme.has(id) || spread.has(id));
  if (unsure && (found ?? expected)?.code === 'INVALID_ARGUMENT') return;
  if (found?.code !== expected?.code) throw new Fault(`ended in ${ending(found)}, not ${ending(expected)}`, step);
}

const ending = (error?: FastWeightsError): string => (error ? `${error.code} (${error.message})` : 'nothing');

/** What comes back through such a step may be NaN at more places, too. */
function holdsInfinite({ values }: Outcome): boolean {
  return [...values.values()].some(({ data }) => !allFinite(data));
}

/** Runs of the reference from inputs and results that are each off by up to a millionth; made when first needed. */
class Disturbed {
  private outcomes: Outcome[] | undefined;

  constructor(private readonly program: Program) {}

  runs(): Outcome[] {
    this.outcomes ??= Array.from({ length: RUNS }, (_, i) =>
      execute(this.program, REFERENCE, { noise: new Random(i, 0) }),
    );
    return this.outcomes;
  }
}

interface Allowance {
  tolerance: number;
  deviations: number;
  /** A size that counts for every element. */
  floor: number;
  /** A size that counts for elements that are 0 however the inputs are disturbed. */
  cancelled: number;
  /** What is NaN must not be a number; anything else may be anything. */
  lenient: boolean;
  /** What disturbed runs gave. */
  runs(): (Numbers | undefined)[];
}

function check(name: string, found: Numbers, expected: Numbers, allowance: Allowance, step?: Step): void {
  const { tolerance, deviations, floor, cancelled, lenient } = allowance;
  const [x, y] = [found.data, expected.data];
  const scale = Math.max(typical(y), floor);
  let runs: (Numbers | undefined)[] | undefined;
  for (let i = 0; i < y.length; i++) {
    if (x[i] === y[i] || (Number.isNaN(x[i]) && Number.isNaN(y[i]))) continue;
    if (lenient) {
      if (Number.isNaN(y[i]) && Number.isFinite(x[i])) throw new Fault(`${name}[${i}] is ${x[i]}, not NaN`, step);
      continue;
    }
    const finite = Number.isFinite(x[i]) && Number.isFinite(y[i]);
    const error = Math.abs(x[i] - y[i]);
    if (finite && error <= tolerance * (Math.abs(y[i]) + scale) + SMALLEST) continue;
    runs ??= allowance.runs();
    const others = runs.map((run) => run?.data[i] ?? NaN);
    const sure = others.every((other) => Object.is(category(other), category(y[i])));
    if (finite && error <= tolerance * cancelled && [y[i], ...others].every((other) => other === 0)) continue;
    const deviation = Math.sqrt(others.reduce((sum, other) => sum + (other - y[i]) ** 2, 0) / RUNS);
    if (!sure || (finite && error <= tolerance * Math.abs(y[i]) + deviations * deviation)) continue;
    throw new Fault(`${name}[${i}] of [${expected.shape.join(', ')}] is ${x[i]}, not ${y[i]}`, step);
  }
}

/** NaN, an infinity of one sign, or a number: which of them must not depend on rounding. */
const category = (x: number): number => (Number.isFinite(x) ? 0 : x);
