// What operators follow beside their arguments, kept by whoever works on between other tasks.
import { checksSetting, withChecksSetting } from './checks';
import { float32MatmulPrecision, withKeptPrecision } from './matmul';

/** Runs a function with the settings that held when they were kept; whatever was set since holds again afterwards. */
export interface KeptSettings {
  <T>(fn: () => T): T;
  /** Equal where the settings are. */
  readonly key: string;
}

/** Keeps the precision of products and the checks of values as they are set now. */
export function keepSettings(): KeptSettings {
  const precision = float32MatmulPrecision();
  const checks = checksSetting();
  const run = <T>(fn: () => T): T => withChecksSetting(checks, () => withKeptPrecision(precision, fn));
  return Object.assign(run, { key: `${precision} ${checks}` });
}
