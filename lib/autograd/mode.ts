// Whether operators are recorded.
import { callSynchronous } from '../core';

let enabled = true;
let again = false;

export function gradEnabled(): boolean {
  return enabled;
}

/**
 * Whether what runs now runs again with gradients, and must give the same bits then: the first pass of a checkpoint, but for
 * what is not recorded there either.
 */
export function runsAgain(): boolean {
  return again;
}

function withMode<T>(where: string, mode: boolean, fn: () => T, repeats = false): T {
  const before = { enabled, again };
  enabled = mode;
  again = repeats;
  try {
    return callSynchronous(where, fn, fn);
  } finally {
    ({ enabled, again } = before);
  }
}

/** Runs the synchronous function `fn` without recording; operators in place are allowed only inside. */
export function noGrad<T>(fn: () => T): T {
  return withMode('noGrad', false, fn);
}

/** The opposite, for code that records inside a backward pass. */
export function enableGrad<T>(fn: () => T): T {
  return withMode('enableGrad', true, fn);
}

/** Without recording, what will run again with it. */
export function beforeAgain<T>(fn: () => T): T {
  return withMode('checkpoint', false, fn, true);
}
