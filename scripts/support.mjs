// What the scripts that build and check have in common.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, realpathSync, statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Whether Node.js was started with this module; `url` is its import.meta.url. */
export function isMain(url) {
  return Boolean(process.argv[1]) && url === pathToFileURL(realpathSync(process.argv[1])).href;
}

/** Records of what was built (scripts/cuda-resources.mjs, scripts/card-model), in the folder of what is built from. */
const RECORDS = ['resources.json', 'predictions.json'];

/** The newest change to any of these files or the files below these folders, in milliseconds; 0 for none. */
export function newest(...paths) {
  const times = paths.map((path) => {
    const at = join(root, path);
    if (!existsSync(at)) return 0;
    const stat = statSync(at);
    if (!stat.isDirectory()) return stat.mtimeMs;
    // The folder's own time tells of files that were removed.
    const names = readdirSync(at).filter((name) => !RECORDS.includes(name));
    return Math.max(stat.mtimeMs, newest(...names.map((name) => join(path, name))));
  });
  return Math.max(0, ...times);
}

/** Whether `output` exists and nothing it is made from changed since. */
export function current(output, ...inputs) {
  const made = newest(output);
  return made > 0 && made >= newest(...inputs);
}

export function works(command, ...args) {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0;
}

/** Runs a process to its end without showing it: its exit code, what it printed, and of that the standard output. */
export function finish(command, args, { env = process.env, cwd = root } = {}) {
  const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
  let [output, stdout] = ['', ''];
  child.stdout.on('data', (part) => {
    stdout += part;
    output += part;
  });
  child.stderr.on('data', (part) => (output += part));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, output: `${output}${signal ?? ''}`, stdout }));
  });
}

/** Does the jobs in their order, as many at a time as there are processors; which of them failed. */
export async function share(jobs, succeeds) {
  const [queue, failed] = [[...jobs], []];
  const worker = async () => {
    for (let job; (job = queue.shift());) if (!(await succeeds(job))) failed.push(job);
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  return failed;
}

/** Exit code of a script that this machine cannot run: nothing is broken, and nothing was done. */
export const MISSING = 77;

/** What went wrong in a way that a line explains. */
export class Failure extends Error {
  exitCode = 1;
}

/** What this machine lacks. */
export class Missing extends Failure {
  exitCode = MISSING;
}

/** Runs a script's main function, which returns an exit code; a Failure becomes a line and an exit code. */
export async function runMain(main) {
  try {
    process.exitCode = (await main()) ?? 0;
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    console.error(error.message);
    process.exitCode = error.exitCode;
  }
}

/** Bytes as MiB. */
export const mebibytes = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
