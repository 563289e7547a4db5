// Making a folder with its parents.
import { dirname, mkdir, stat } from '../platform';
import { systemCode } from './failure';

/**
 * Like `mkdir` with `recursive`, which never returns on file systems that answer ENOENT below an existing folder (procfs
 * on Linux): here every parent is made once, and then the answer counts. Returns the folders that were made, parents first.
 */
export function createFolder(path: string): Promise<string[]> {
  return make(path, true);
}

async function make(path: string, withParents: boolean): Promise<string[]> {
  try {
    await mkdir(path);
    return [path];
  } catch (error) {
    if (systemCode(error) === 'EEXIST' && (await stat(path)).isDirectory()) return [];
    const parent = dirname(path);
    if (!withParents || systemCode(error) !== 'ENOENT' || parent === path) throw error;
    return [...(await make(parent, true)), ...(await make(path, false))];
  }
}
