// Whether a device made of a program what the reference made of it, and how far off rounding may have led it.
import { type Target } from '../support/golden';
import { toleranceOf } from '../support/tolerance';
import { REFERENCE } from './builder';
import { execute, Fault, type Numbers, type Outcome, type Program, type Step, surplus } from './program';
import { Random } from './random';

/** How many disturbed runs show what rounding can do, and how many of their deviations are allowed. */
const RUNS = 8;
const DEVIATIONS = 6;
/** Numbers this small may be flushed to 0. */
const SMALLEST = 1e-36;

/** Throws a Fault where the outcome is not the reference's. */
export function compare(program: Program, reference: Outcome, actual: Outcome, where: Target): void {
  program.steps.forEach((step, place) => compareRefusals(step, place, reference, actual));
  const { forward, gradient } = toleranceOf(where.dtype);
  const disturbed = new Disturbed(program);
  for (const [id, expected] of reference.values) {
    const step = program.steps.find((s) => s.outputs.includes(id))!;
    const found = actual.values.get(id);
    const late = actual.late.get(id);
    if (!found) throw new Fault(`t${id} ${late ? `could not be read: ${late}` : 'is missing'}`, step);
    if (found.shape.join() !== expected.shape.join())
      throw new Fault(`t${id} has the shape [${found.shape.join(', ')}], not [${expected.shape.join(', ')}]`, step);
    const lenient = program.extreme.has(id);
    const runs = (): (Numbers | undefined)[] => disturbed.runs().map((run) => run.values.get(id));
    check(`t${id}`, found, expected, forward, lenient, runs, step);
  }
  const [refused, expectedRefusal] = [actual.refusals.get('backward'), reference.refusals.get('backward')];
  if (refused !== expectedRefusal)
    throw new Fault(`backward ended in ${refused ?? 'nothing'}, not ${expectedRefusal ?? 'nothing'}`);
  const lenient = program.extreme.size > 0;
  reference.gradients.forEach((expected, i) => {
    const found = actual.gradients[i];
    if (!expected !== !found) throw new Fault(`leaf ${i} has ${found ? 'a' : 'no'} gradient`);
    if (!expected || !found) return;
    const runs = (): (Numbers | undefined)[] => disturbed.runs().map((run) => run.gradients[i] ?? undefined);
    check(`the gradient of leaf ${i}`, found, expected, gradient, lenient, runs);
  });
}

/** A step refused on the reference is refused on the device with the same code, if only when its results are read. */
function compareRefusals(step: Step, place: number, reference: Outcome, actual: Outcome): void {
  const expected = reference.refusals.get(place);
  const code = actual.refusals.get(place) ?? actual.late.get(step.outputs[0] ?? surplus(place, 0));
  if (step.refused && !expected) throw new Fault('was not refused by the reference', step);
  if (code !== expected) throw new Fault(`ended in ${code ?? 'nothing'}, not ${expected ?? 'nothing'}`, step);
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

function check(
  name: string,
  found: Numbers,
  expected: Numbers,
  tolerance: number,
  lenient: boolean,
  disturbed: () => (Numbers | undefined)[],
  step?: Step,
): void {
  const [x, y] = [found.data, expected.data];
  const scale = typical(y);
  let runs: (Numbers | undefined)[] | undefined;
  for (let i = 0; i < y.length; i++) {
    if (x[i] === y[i] || (Number.isNaN(x[i]) && Number.isNaN(y[i]))) continue;
    if (lenient) {
      if (Number.isNaN(y[i])) throw new Fault(`${name}[${i}] is ${x[i]}, not NaN`, step);
      continue;
    }
    const finite = Number.isFinite(x[i]) && Number.isFinite(y[i]);
    const error = Math.abs(x[i] - y[i]);
    if (finite && error <= tolerance * (Math.abs(y[i]) + scale) + SMALLEST) continue;
    runs ??= disturbed();
    const others = runs.map((run) => run?.data[i] ?? NaN);
    const sameKind = others.every((other) => Number.isFinite(other) === Number.isFinite(y[i]));
    if (!finite && !sameKind) continue;
    const deviation = Math.sqrt(others.reduce((sum, other) => sum + (other - y[i]) ** 2, 0) / RUNS);
    if (finite && (!sameKind || error <= tolerance * Math.abs(y[i]) + DEVIATIONS * deviation)) continue;
    throw new Fault(`${name}[${i}] of [${expected.shape.join(', ')}] is ${x[i]}, not ${y[i]}`, step);
  }
}

/** The root mean square of the finite elements, unless a few outshine the others. */
function typical(y: ArrayLike<number>): number {
  let [sum, most, count] = [0, 0, 0];
  for (let i = 0; i < y.length; i++) {
    if (!Number.isFinite(y[i])) continue;
    sum += y[i] * y[i];
    most = Math.max(most, Math.abs(y[i]));
    count++;
  }
  const rms = Math.sqrt(sum / Math.max(1, count));
  return most <= 30 * rms && most <= 1e3 ? rms : 0;
}
