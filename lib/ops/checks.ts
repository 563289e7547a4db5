// Checks of values (NaN, gates above 0, indices out of range): they read tensors back, so they are off by default
// outside the `js` device.
import { environment } from '../platform';
import { argumentError, callSynchronous, describe, setRecordSites, type Tensor } from '../core';

/** Whether values are checked; with true `memory()` says where tensors were made, too. */
export type Checks = boolean | 'values';

/** What `setChecks` said last; null while it has said nothing. */
let chosen: Checks | null = null;
/** What FAST_WEIGHTS_CHECK says; null until it is read. */
let wished: Checks | null = null;

/**
 * Turns the checks of values on or off on every device: gates above 0, NaN in inputs of rules, indices out of range; while
 * on, `memory()` also says where live tensors were made, which takes longer to write down than a small operator takes:
 * `'values'` leaves that out. Until it is called they are on for `js`, where reading costs nothing, and with the
 * environment variable FAST_WEIGHTS_CHECK=1 (or =values) everywhere.
 */
export function setChecks(on: Checks): void {
  choose(checkSwitch('setChecks', on));
}

function checkSwitch(where: string, on: unknown): Checks {
  if (typeof on === 'boolean' || on === 'values') return on;
  throw argumentError('INVALID_ARGUMENT', where, 'on', "true, false or 'values'", describe(on));
}

function choose(on: Checks | null): void {
  chosen = on;
  setRecordSites(inUse() === true);
}

/** Runs the synchronous function `fn` with the checks as `setChecks` takes them; what was said before holds again afterwards. */
export function withChecks<T>(on: Checks, fn: () => T): T {
  checkSwitch('withChecks', on);
  return callSynchronous('withChecks', () => withChecksSetting(on, fn), fn);
}

/** What `setChecks` said last, null while it has said nothing: for `withChecksSetting`. */
export function checksSetting(): Checks | null {
  return chosen;
}

export function withChecksSetting<T>(setting: Checks | null, fn: () => T): T {
  const before = chosen;
  if (setting !== before) choose(setting);
  try {
    return fn();
  } finally {
    if (chosen !== before) choose(before);
  }
}

function inUse(): Checks {
  if (chosen !== null) return chosen;
  if (wished === null) {
    wished = checksFromEnvironment();
    setRecordSites(wished === true);
  }
  return wished;
}

/** Whether values are checked on every device. */
export function checksEnabled(): boolean {
  return inUse() !== false;
}

/** FAST_WEIGHTS_CHECK; not set, empty or 0 leaves it to the device. */
export function checksFromEnvironment(): Checks {
  const value = environment('FAST_WEIGHTS_CHECK') ?? '0';
  if (value === 'values') return value;
  if (value === '0' || value === '1') return value === '1';
  throw argumentError('INVALID_ARGUMENT', 'environment', 'FAST_WEIGHTS_CHECK', "'0' | '1' | 'values'", describe(value));
}

/** Whether values on this tensor's device are checked. */
export function checksValues(t: Tensor): boolean {
  return checksEnabled() || (chosen === null && t.device === 'js');
}

/** Requires every element to satisfy a test. */
export function checkValues(
  where: string,
  argument: string,
  t: Tensor,
  expected: string,
  test: (x: number) => boolean,
): void {
  if (checksValues(t)) requireValues(where, argument, t, expected, test);
}

/** The same whether checks are on or not; it reads the tensor, which blocks. */
export function requireValues(
  where: string,
  argument: string,
  t: Tensor,
  expected: string,
  test: (x: number) => boolean,
): void {
  const bad = t.dataSync().find((x) => !test(x));
  if (bad !== undefined) throw argumentError('INVALID_ARGUMENT', where, argument, expected, String(bad));
}
