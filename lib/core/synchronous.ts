// Functions that set something for the time of a call must be over when they return.
import { argumentError } from './errors';

/** Requires of what `fn` returned that it is no promise: INVALID_ARGUMENT. */
export function refusePromise<T>(where: string, result: T): T {
  if (typeof result !== 'object' || result === null || !('then' in result) || typeof result.then !== 'function') {
    return result;
  }
  // What it comes to, after this, interests nobody.
  if (result instanceof Promise) result.catch(() => undefined);
  const expected = 'a synchronous function; between two awaits use `const s = scope()` and s.run(...)';
  throw argumentError('INVALID_ARGUMENT', where, 'fn', expected, 'one that returned a promise');
}
