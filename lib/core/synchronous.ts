// Functions that set something for the time of a call must be over when they return.
import { argumentError, describe } from './errors';

const EXPECTED =
  'a synchronous function: call it for what stands between two awaits (tensors that live longer: `const s = scope()`)';

/** Requires of what `fn` returned that it is no promise: INVALID_ARGUMENT. */
export function refusePromise<T>(where: string, result: T): T {
  const kind = typeof result;
  if ((kind !== 'object' && kind !== 'function') || result === null) return result;
  if (typeof (result as { then?: unknown }).then !== 'function') return result;
  // What it comes to, after this, interests nobody.
  if (result instanceof Promise) result.catch(() => undefined);
  throw argumentError('INVALID_ARGUMENT', where, 'fn', EXPECTED, 'one that returned a promise');
}

/** Calls `call`, which calls the function `fn` that a user gave: one that is over when it returns. */
export function callSynchronous<T>(where: string, call: () => T, fn: () => T): T {
  if (typeof fn !== 'function') {
    throw argumentError('INVALID_ARGUMENT', where, 'fn', 'a function', describe(fn));
  }
  // Of a generator nothing has run when it returns.
  if (fn.constructor !== Function && /Generator/.test(Object.prototype.toString.call(fn))) {
    throw argumentError('INVALID_ARGUMENT', where, 'fn', EXPECTED, 'a generator');
  }
  return refusePromise(where, call());
}
