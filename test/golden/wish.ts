// What the command line of the runner asks for.
import { existsSync, statSync } from 'node:fs';
import { parseArgs } from 'node:util';
import * as fw from '../../lib';
import type { Target } from '../support/golden';

/** How a script is used that runs `what`. */
export const usageOf = (
  script: string,
  what: string,
): string => `Usage: node --import=tsx test/golden/${script}.ts FOLDER [options]

Runs ${what}:
a line for every case that is not within its tolerance, and how many are. The exit status is 0 only if all of them are.

  --device <name>  cpu | cuda | js (default: cpu)
  --dtype <name>   float32 | float64, which only js has (default: float32)
  --help           this text
`;

const DTYPES = ['float32', 'float64'] as const;

/** The command line was used wrongly. */
export class UsageError extends Error {}

/** What to run. */
export interface Wish extends Target {
  folder: string;
}

function parse(args: string[]): { values: { device: string; dtype: string; help: boolean }; positionals: string[] } {
  try {
    return parseArgs({
      args,
      allowPositionals: true,
      options: {
        device: { type: 'string', default: 'cpu' },
        dtype: { type: 'string', default: 'float32' },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** What the command line asks for; null for help. */
export function readWish(args: string[]): Wish | null {
  const { values, positionals } = parse(args);
  if (values.help) return null;
  if (positionals.length !== 1) throw new UsageError(`one FOLDER expected, found ${positionals.length}`);
  const [folder] = positionals;
  if (!existsSync(folder) || !statSync(folder).isDirectory()) throw new UsageError(`FOLDER: no folder ${folder}`);
  const known = fw.devices();
  const device = known.find((one) => one.device === values.device);
  if (!device) {
    const names = known.map((one) => one.device).join(' | ');
    throw new UsageError(`--device: ${names} expected, found ${values.device}`);
  }
  if (!device.available) throw new UsageError(`--device: ${device.device} is not available: ${device.reason}`);
  const dtype = DTYPES.find((one) => one === values.dtype);
  if (!dtype) throw new UsageError(`--dtype: ${DTYPES.join(' | ')} expected, found ${values.dtype}`);
  if (dtype === 'float64' && device.device !== 'js') {
    throw new UsageError(`--dtype: float64 exists on the device js only, found ${device.device}`);
  }
  return { folder, device: device.device, dtype };
}
