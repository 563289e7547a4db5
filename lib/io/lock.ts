// Who works in a folder: a file `lock-<pid>` for each process, which holds what tells the process from others of its number where
// the system knows that. The lock of a process that is gone counts for nothing; one that is empty, or half written, goes by its name.
import { join, open, processId, processMark, readdir, readFile, rm, stat } from '../platform';
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
    if (isOwned(pid, modified) && !(await isOther(path, pid))) holders.push(pid);
    else await rm(path, { force: true });
  }
  return holders;
}

/** Whether the process of this number is another one than that which made the lock. */
async function isOther(path: string, pid: number): Promise<boolean> {
  const now = processMark(pid);
  const then = await readFile(path, 'utf8').catch(() => '');
  return now !== undefined && then.length >= now.length && then !== now;
}

/**
 * Takes a folder for this process, until `unlockFolder`; refused with IO while another one works in it. What has it already may
 * take it again, unless it is asked for `alone`: then a second call in this process is refused, too.
 */
export async function lockFolder(dir: string, { alone = false } = {}): Promise<void> {
  const known = (await lockHolders(dir)).includes(processId);
  if (known && alone) throw taken(dir, processId);
  if (!known) await take(dir, alone);
  const other = (await lockHolders(dir)).find((pid) => pid !== processId);
  if (other === undefined) return;
  if (!known) await unlockFolder(dir);
  throw taken(dir, other);
}

/** Of two calls at once in one process only one makes the file. */
async function take(dir: string, alone: boolean): Promise<void> {
  try {
    const file = await open(own(dir), alone ? 'wx' : 'w');
    try {
      await file.writeFile(processMark(processId) ?? '');
    } finally {
      await file.close();
    }
  } catch (error) {
    throw systemCode(error) === 'EEXIST' ? taken(dir, processId) : error;
  }
}

function taken(dir: string, pid: number): FastWeightsError {
  return new FastWeightsError(
    'IO',
    `process ${pid} works in ${dir}; wait for its end (if ${pid} is something else, delete ${join(dir, `lock-${pid}`)})`,
    { argument: dir, expected: 'a folder in which no other run works', found: `process ${pid}` },
  );
}

/** Gives a folder free that `lockFolder` took; does nothing where this process holds no lock. */
export async function unlockFolder(dir: string): Promise<void> {
  await rm(own(dir), { force: true });
}
