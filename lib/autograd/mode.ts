// Whether operators are recorded.
import { callSynchronous } from '../core';

let enabled = true;

export function gradEnabled(): boolean {
  return enabled;
}

function withMode<T>(where: string, mode: boolean, fn: () => T): T {
  const before = enabled;
  enabled = mode;
  try {
    return callSynchronous(where, fn, fn);
  } finally {
    enabled = before;
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
