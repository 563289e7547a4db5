// A child that trains and saves after every step, killed at a random moment; then what it left must be whole.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import '../../lib';
import { resumeRun } from '../../lib/train';
import { close } from './support';

/** Lets a child save for up to `within` milliseconds after its first checkpoint, kills it, and resumes what it left. */
export async function killOnce(dir: string, within: number): Promise<number> {
  const env = { ...process.env, FAST_WEIGHTS_DEVICE: 'js' };
  const child = spawn(process.execPath, ['--import=tsx', join(__dirname, 'saver.ts'), dir], { stdio: 'ignore', env });
  const ended = once(child, 'exit');
  while (!existsSync(join(dir, 'checkpoints', 'step-1')) && child.exitCode === null) await pause(5);
  await pause(Math.random() * within);
  child.kill('SIGKILL');
  await ended;
  const run = await resumeRun(dir);
  const { step } = run.trainer;
  close(run);
  return step;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
