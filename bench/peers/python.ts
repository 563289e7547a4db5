// The peers in Python: which problems torch_trial.py solves, and how it is started.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Problem } from '../problem';

const SCRIPT = path.resolve(__dirname, 'torch_trial.py');

export interface PythonPeer {
  /** As it stands in the table. */
  readonly name: string;
  /** What torch_trial.py calls it. */
  readonly contender: string;
  /** With MKL made to use AVX-512. */
  readonly forced: boolean;
  supports(problem: Problem): boolean;
}

const supportsDelta = (problem: Problem): boolean =>
  problem.kind === 'sequence' &&
  problem.device === 'cpu' &&
  problem.pass !== 'backward' &&
  problem.delta &&
  problem.gate !== 'vector';

const supportsProducts = (problem: Problem): boolean => problem.kind === 'matmul' || problem.kind === 'languageModel';

const peer = (contender: string, supports: PythonPeer['supports'], forced = false): PythonPeer => {
  return { name: forced ? `${contender}, MKL AVX-512` : contender, contender, forced, supports };
};

/** Compiled: no case that is a single product. */
const supportsGraph = (problem: Problem): boolean => supportsDelta(problem) || problem.kind === 'languageModel';

const PEERS: readonly PythonPeer[] = [
  peer('torch', (problem) => supportsDelta(problem) || supportsProducts(problem)),
  peer('torch', (problem) => supportsDelta(problem) || supportsProducts(problem), true),
  peer('torch compiled', supportsGraph),
  peer('torch compiled', supportsGraph, true),
  peer('transformers', supportsDelta),
];

/** MKL takes 256-bit vectors on processors that are not Intel's, whatever they have. */
function heldBack(): boolean {
  if (process.platform !== 'linux') return false;
  const info = readFileSync('/proc/cpuinfo', 'utf8');
  return /\bavx512f\b/.test(info) && !info.includes('GenuineIntel');
}

/** Compiles the library that is preloaded to let MKL use AVX-512; undefined where nothing is to be gained, or no compiler. */
function avx512Library(): string | undefined {
  if (!heldBack()) return undefined;
  const library = path.join(mkdtempSync(path.join(tmpdir(), 'fast-weights-bench-')), 'mkl_avx512.so');
  const source = path.resolve(__dirname, 'mkl_avx512.c');
  const { status } = spawnSync(process.env.CC ?? 'cc', ['-shared', '-fPIC', '-o', library, source]);
  return status === 0 ? library : undefined;
}

/** Peers with their environments: without what holds BLAS libraries back, and with OpenMP on as many threads as ours. */
export function pythonPeers(): { peer: PythonPeer; environment(threads: number): NodeJS.ProcessEnv }[] {
  const library = avx512Library();
  return PEERS.filter(({ forced }) => !forced || library !== undefined).map((peer) => ({
    peer,
    environment(threads) {
      const counts = { OMP_NUM_THREADS: String(threads), MKL_NUM_THREADS: String(threads) };
      const env: NodeJS.ProcessEnv = { ...process.env, ...counts };
      for (const name of ['OPENBLAS_CORETYPE', 'OPENBLAS_L2_SIZE', 'OPENBLAS_NUM_THREADS', 'ATEN_CPU_CAPABILITY'])
        delete env[name];
      return peer.forced ? { ...env, LD_PRELOAD: library } : env;
    },
  }));
}

export function pythonCommand(python: string, job: string): [string, string[]] {
  return [python, [SCRIPT, job]];
}
