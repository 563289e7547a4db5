// The vectors in and below a folder.
import { existsSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { readGolden, type Target } from '../support/golden';
import { caseFailures } from '../support/runCase';
import { modelFailures } from './checkpoint';
import { runVector } from './table';

const EXPECTED = 'expected.safetensors';

/** One vector: a file, or the folder of a whole model. */
export interface Vector {
  /** Path below the folder that was searched. */
  name: string;
  /** Whether it is a whole model. */
  whole: boolean;
  /** What is wrong with it, a line for every tensor; it throws where nothing can be compared. */
  failures(where: Target): string[] | Promise<string[]>;
}

/** All of them, by name. In the folder of a model, which has a configuration, the other files are its weights. */
export function vectorsBelow(folder: string, prefix = ''): Vector[] {
  const entries = readdirSync(folder).sort();
  const isModel = existsSync(path.join(folder, 'config.json')) && existsSync(path.join(folder, EXPECTED));
  const found: Vector[] = isModel
    ? [
        {
          name: prefix || path.basename(folder),
          whole: true,
          failures: (where) => modelFailures(folder, path.join(folder, EXPECTED), where),
        },
      ]
    : [];
  for (const entry of entries) {
    const at = path.join(folder, entry);
    const name = path.join(prefix, entry);
    if (statSync(at).isDirectory()) found.push(...vectorsBelow(at, name));
    else if (!isModel && entry.endsWith('.safetensors')) {
      found.push({ name, whole: false, failures: (where) => caseFailures(readGolden(at), where, runVector) });
    }
  }
  return found;
}
