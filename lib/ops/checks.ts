// Checks of values (NaN, gates above 0, indices out of range): they read tensors back, so they are off by default
// outside the `js` device.
import { environment } from '../platform';
import { argumentError, callSynchronous, describe, setRecordSites, type Tensor } from '../core';

/** What `setChecks` said last; null while it has said nothing. */
let chosen: boolean | null = null;
/** What FAST_WEIGHTS_CHECK says; null until it is read. */
let wished: boolean | null = null;

/**
 * Turns the checks of values on or off on every device: gates above 0, NaN in inputs of rules, indices out of range; while
 * on, `memory()` also says where live tensors were made. Until it is called they are on for `js`, where reading costs
 * nothing, and with the environment variable FAST_WEIGHTS_CHECK=1 everywhere.
 */
export function setChecks(on: boolean): void {
  choose(checkSwitch('setChecks', on));
}

function checkSwitch(where: string, on: unknown): boolean {
  if (typeof on === 'boolean') return on;
  throw argumentError('INVALID_ARGUMENT', where, 'on', 'true or false', describe(on));
}

function choose(on: boolean | null): void {
  chosen = on;
  setRecordSites(checksEnabled());
}

/** Runs the synchronous function `fn` with the checks on or off; what was said before holds again afterwards. */
export function withChecks<T>(on: boolean, fn: () => T): T {
  checkSwitch('withChecks', on);
  return callSynchronous('withChecks', () => withChecksSetting(on, fn), fn);
}

/** What `setChecks` said last, null while it has said nothing: for `withChecksSetting`. */
export function checksSetting(): boolean | null {
  return chosen;
}

export function withChecksSetting<T>(setting: boolean | null, fn: () => T): T {
  const before = chosen;
  if (setting !== before) choose(setting);
  try {
    return fn();
  } finally {
    if (chosen !== before) choose(before);
  }
}

/** Whether values are checked on every device. */
export function checksEnabled(): boolean {
  if (chosen !== null) return chosen;
  if (wished === null) {
    wished = checksFromEnvironment();
    setRecordSites(wished);
  }
  return wished;
}

/** FAST_WEIGHTS_CHECK; not set, empty or 0 leaves it to the device. */
export function checksFromEnvironment(): boolean {
  const value = environment('FAST_WEIGHTS_CHECK') ?? '0';
  if (value === '0' || value === '1') return value === '1';
  throw argumentError('INVALID_ARGUMENT', 'environment', 'FAST_WEIGHTS_CHECK', "'0' | '1'", describe(value));
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
