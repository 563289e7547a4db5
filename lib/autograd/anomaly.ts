// NaN, and the operator that made it.
import { argumentError, callSynchronous, describe, FastWeightsError, isFloat, type Tensor } from '../core';
import { callers } from '../platform';

/** Lines of the program that an error shows. */
const LINES = 4;

let on = false;
/** Whether a check reads values now, with operators of its own. */
let reading = false;
/** Where the operators of nodes were called. */
const sites = new WeakMap<object, () => string>();

/** Whether every operator is checked. */
export function findsAnomalies(): boolean {
  return on && !reading;
}

function checkSwitch(where: string, value: unknown): boolean {
  if (typeof value === 'boolean') return value;
  throw argumentError('INVALID_ARGUMENT', where, 'on', 'true or false', describe(value));
}

/**
 * Turns the search of `detectAnomaly` on or off for everything that comes, off by default; asynchronous code included.
 * INVALID_ARGUMENT unless `on` is true or false. After `torch.autograd.set_detect_anomaly`.
 */
export function setDetectAnomaly(on_: boolean): void {
  on = checkSwitch('setDetectAnomaly', on_);
}

/**
 * Runs the synchronous function `fn` and throws GRAPH at the first differentiable operator whose result holds NaN, and
 * in a backward pass at the first whose gradients do: the error's `argument` is the operator, its message says where in the
 * program that was called, and whether it was given a NaN. Every result is read back, so this is slow: for finding a
 * fault. Returns what `fn` returns; a promise is refused (INVALID_ARGUMENT), `setDetectAnomaly` is for asynchronous code. After
 * `torch.autograd.detect_anomaly`, which looks at backward passes only.
 */
export function detectAnomaly<T>(fn: () => T): T {
  const before = on;
  return callSynchronous(
    'detectAnomaly',
    () => {
      on = true;
      try {
        return fn();
      } finally {
        on = before;
      }
    },
    fn,
  );
}

/** Looks at what an operator has made; `node` is its own where it is recorded. */
export function checkForward(
  name: string,
  inputs: readonly (Tensor | null)[],
  outputs: readonly Tensor[],
  node: object | null,
): void {
  if (underBackward) return;
  const site = callers(LINES);
  if (node) sites.set(node, site);
  if (outputs.some(holdsNaN)) refuse(name, `the result of ${name}`, inputs.some(holdsNaN), site);
}

let underBackward = false;

/** Runs the operators of users that a backward pass runs again. */
export function againForward<T>(fn: () => T): T {
  const outer = underBackward;
  underBackward = false;
  try {
    return fn();
  } finally {
    underBackward = outer;
  }
}

/** Runs the backward pass of one node, `compute`, and looks at the gradients that it gives. */
export function checkedBackward(
  node: { readonly name: string },
  given: readonly (Tensor | null)[],
  compute: () => (Tensor | null | undefined)[],
): (Tensor | null | undefined)[] {
  const outer = underBackward;
  underBackward = true;
  try {
    const gradients = compute();
    if (gradients.some(holdsNaN)) {
      const site = sites.get(node) ?? (() => '    (outside detectAnomaly)');
      refuse(node.name, `a gradient from the backward pass of ${node.name}`, given.some(holdsNaN), site);
    }
    return gradients;
  } finally {
    underBackward = outer;
  }
}

function holdsNaN(t: Tensor | null | undefined): boolean {
  if (!t || !isFloat(t.dtype)) return false;
  reading = true;
  try {
    return t.dataSync().some(Number.isNaN);
  } finally {
    reading = false;
  }
}

function refuse(name: string, what: string, given: boolean, site: () => string): never {
  const origin = given ? ', as what it was given does' : '';
  throw new FastWeightsError('GRAPH', `detectAnomaly: ${what} holds NaN${origin}; ${name} was called\n${site()}`, {
    argument: name,
    expected: 'no NaN',
    found: 'NaN',
  });
}
