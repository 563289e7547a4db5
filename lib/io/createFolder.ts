// Making a folder with its parents.
import { dirname, mkdir, stat } from '../platform';
import { systemCode } from './failure';

/**
 * Like `mkdir` with `recursive`, which never returns on file systems that answer ENOENT below an existing folder (procfs
 * on Linux): here every parent is made once, and then the answer counts. Returns the folders that were made, parents first.
 */
export async function createFolder(path: string): Promise<string[]> {
  try {
    await mkdir(path);
    return [path];
  } catch (error) {
    if (systemCode(error) === 'EEXIST' && (await stat(path)).isDirectory()) return [];
    const parent = dirname(path);
    const missing = systemCode(error) === 'ENOENT' && parent !== path && !(await exists(parent));
    if (!missing) throw error;
    return [...(await createFolder(parent)), ...(await createFolder(path))];
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
