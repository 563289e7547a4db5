// Who works in a folder: an empty file `lock-<pid>` for each process. The name says it all, so none is ever half written,
// and the lock of a process that is gone counts for nothing.
import { join, open, processId, readdir, rm, stat } from '../platform';
import { FastWeightsError } from '../core';
import { isOwned } from './atomic';
import { systemCode } from './failure';

const own = (dir: string): string => join(dir, `lock-${processId}`);

/** The processes that work in a folder and are alive; what dead ones left is deleted. */
export async function lockHolders(dir: string): Promise<number[]> {
  const names = await readdir(dir).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  });
  const holders: number[] = [];
  for (const name of names) {
    const pid = Number(/^lock-(\d+)$/.exec(name)?.[1] ?? NaN);
    if (Number.isNaN(pid)) continue;
    const path = join(dir, name);
    const modified = await stat(path).then(
      ({ mtimeMs }) => mtimeMs,
      () => undefined,
    );
    if (modified === undefined) continue;
    if (isOwned(pid, modified)) holders.push(pid);
    else await rm(path, { force: true });
  }
  return holders;
}

/** Takes a folder for this process, until `unlockFolder`; refused while another one works in it. */
export async function lockFolder(dir: string): Promise<void> {
  const known = (await lockHolders(dir)).includes(processId);
  if (!known) await (await open(own(dir), 'w')).close();
  const other = (await lockHolders(dir)).find((pid) => pid !== processId);
  if (other === undefined) return;
  if (!known) await unlockFolder(dir);
  throw new FastWeightsError(
    'IO',
    `process ${other} works in ${dir}; wait for its end (if ${other} is something else, delete ${join(dir, `lock-${other}`)})`,
    { argument: dir, expected: 'a folder in which no other process works', found: `process ${other}` },
  );
}

/** Gives a folder free that `lockFolder` took; does nothing where this process holds no lock. */
export async function unlockFolder(dir: string): Promise<void> {
  await rm(own(dir), { force: true });
}
