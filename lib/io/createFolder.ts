// Making a folder with its parents.
import { mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}

/**
 * Like `mkdir` with `recursive`, which never returns on file systems that answer ENOENT below an existing folder (procfs
 * on Linux): here every parent is made once, and then the answer counts.
 */
export async function createFolder(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (error) {
    if (codeOf(error) === 'EEXIST' && (await stat(path)).isDirectory()) return;
    const parent = dirname(path);
    const missing = codeOf(error) === 'ENOENT' && parent !== path && !(await exists(parent));
    if (!missing) throw error;
    await createFolder(parent);
    await createFolder(path);
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
