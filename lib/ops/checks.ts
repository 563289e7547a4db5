// Checks of values (NaN, gates above 0, indices out of range): they read tensors back, so they are off by default
// outside the `js` device.
import { argumentError, setRecordSites, type Tensor } from '../core';

let forced: boolean | undefined;

/**
 * Turns the checks of values on or off: gates above 0, NaN in inputs of rules, indices out of range; while on, `memory()`
 * also says where live tensors were made. The environment variable FAST_WEIGHTS_CHECK=1 turns them on at start.
 */
export function setChecks(on: boolean): void {
  forced = on;
  setRecordSites(on);
}

export function checksEnabled(): boolean {
  if (forced === undefined) setChecks(process.env.FAST_WEIGHTS_CHECK === '1');
  return forced!;
}

/** Whether values on this tensor's device are checked; `js` always is, where reading costs nothing. */
export function checksValues(t: Tensor): boolean {
  return checksEnabled() || (forced !== false && t.device === 'js');
}

/** Requires every element to satisfy a test. */
export function checkValues(
  where: string,
  argument: string,
  t: Tensor,
  expected: string,
  test: (x: number) => boolean,
): void {
  if (!checksValues(t)) return;
  const bad = t.dataSync().find((x) => !test(x));
  if (bad !== undefined) throw argumentError('INVALID_ARGUMENT', where, argument, expected, String(bad));
}
