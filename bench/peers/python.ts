// The peers in Python: which problems torch_trial.py solves, and how it is started.
import path from 'node:path';
import type { Problem } from '../problem';

const SCRIPT = path.resolve(__dirname, 'torch_trial.py');

export interface PythonPeer {
  readonly name: string;
  supports(problem: Problem): boolean;
}

const supportsDelta = (problem: Problem): boolean =>
  problem.kind === 'sequence' &&
  problem.device === 'cpu' &&
  problem.pass !== 'backward' &&
  problem.delta &&
  problem.gate !== 'vector';

export const pythonPeers: readonly PythonPeer[] = [
  {
    name: 'torch',
    supports: (problem) => supportsDelta(problem) || problem.kind === 'matmul' || problem.kind === 'languageModel',
  },
  { name: 'torch compiled', supports: (problem) => supportsDelta(problem) || problem.kind === 'languageModel' },
  { name: 'transformers', supports: supportsDelta },
];

export function pythonCommand(python: string, job: string): [string, string[]] {
  return [python, [SCRIPT, job]];
}

/** Without what holds BLAS libraries back to an older processor, and with OpenMP on the same threads as ours. */
export function pythonEnvironment(threads: number): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = { ...process.env, OMP_NUM_THREADS: String(threads), MKL_NUM_THREADS: String(threads) };
  for (const name of ['OPENBLAS_CORETYPE', 'OPENBLAS_L2_SIZE', 'OPENBLAS_NUM_THREADS', 'ATEN_CPU_CAPABILITY'])
    delete env[name];
  return env;
}
