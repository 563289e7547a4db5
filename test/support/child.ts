// Child processes that run TypeScript from a string or a file, for what cannot be tested inside the test process.
import { spawn, type ChildProcess } from 'node:child_process';
import { LIBRARY, repository } from './library';

export interface Finished {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

/** Starts `node --import=tsx` with arguments. */
export function start(args: string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
  return spawn(process.execPath, ['--import=tsx', ...args], {
    cwd: repository,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** Waits for the end and collects what was printed. */
export function finish(child: ChildProcess): Promise<Finished> {
  let [stdout, stderr] = ['', ''];
  child.stdout?.on('data', (part: Buffer) => (stdout += part.toString()));
  child.stderr?.on('data', (part: Buffer) => (stderr += part.toString()));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
}

/** Runs source text with the library as `fw`. */
export function runSource(source: string, env: NodeJS.ProcessEnv = {}): Promise<Finished> {
  const text = `const fw = require(${JSON.stringify(LIBRARY)});\n${source}`;
  return finish(start(['--input-type=commonjs', '--eval', text], env));
}
