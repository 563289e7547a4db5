// The peers in Python: which problems torch_trial.py solves, and how it is started.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import type { Problem } from '../problem';

const SCRIPT = path.resolve(__dirname, 'torch_trial.py');

export interface PythonPeer {
  /** As it stands in the table. */
  readonly name: string;
  /** What torch_trial.py calls it. */
  readonly contender: string;
  supports(problem: Problem, threads: number): boolean;
  /** Problems that it is given a single trial of: calls of a second and more, which need no median. */
  once?(problem: Problem): boolean;
  environment(threads: number): NodeJS.ProcessEnv;
}

const supportsDelta = (problem: Problem): boolean =>
  problem.kind === 'sequence' &&
  problem.device !== 'js' &&
  problem.dtype === 'float32' &&
  problem.pass !== 'backward' &&
  problem.delta &&
  problem.gate !== 'vector';

const supportsProducts = (problem: Problem): boolean => problem.kind === 'matmul' || problem.kind === 'languageModel';

/** Compiled: no case that is a single product. */
const supportsGraph = (problem: Problem): boolean => supportsDelta(problem) || problem.kind === 'languageModel';

/** A plain transcription of the equations, a loop over time under autograd, which is slow: on all cores only. */
const supportsFeedback = (problem: Problem, threads: number): boolean =>
  problem.kind === 'feedback' &&
  problem.device !== 'js' &&
  problem.pass !== 'backward' &&
  (problem.device !== 'cpu' || threads === availableParallelism());

const supportsTorch = (problem: Problem): boolean => supportsDelta(problem) || supportsProducts(problem);

/** Products in float32 alone: NumPy has no other type that a BLAS multiplies. */
const supportsNumpy = (problem: Problem): boolean =>
  problem.kind === 'matmul' && problem.dtype === 'float32' && problem.precision === 'highest';

/** OpenBLAS of the instruction set that the library is held to; left to choose for itself otherwise. */
function openBlasEnvironment(threads: number): NodeJS.ProcessEnv {
  const env = { ...processorEnvironment(threads), OPENBLAS_NUM_THREADS: String(threads) };
  return process.env.FAST_WEIGHTS_ISA === 'avx2' ? { ...env, OPENBLAS_CORETYPE: 'Haswell' } : env;
}

const isFeedback = ({ kind }: Problem): boolean => kind === 'feedback';

/** Torch as it is; with MKL made to use AVX-512 only where its products are large enough to tell. */
const supportsPlain = (problem: Problem, threads: number): boolean =>
  supportsTorch(problem) || supportsFeedback(problem, threads);

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

/** Without what holds BLAS libraries back, and with OpenMP on as many threads as ours. */
function processorEnvironment(threads: number, preload?: string): NodeJS.ProcessEnv {
  const counts = { OMP_NUM_THREADS: String(threads), MKL_NUM_THREADS: String(threads) };
  const env: NodeJS.ProcessEnv = { ...process.env, ...counts };
  for (const name of ['OPENBLAS_CORETYPE', 'OPENBLAS_L2_SIZE', 'OPENBLAS_NUM_THREADS', 'ATEN_CPU_CAPABILITY'])
    delete env[name];
  return preload === undefined ? env : { ...env, LD_PRELOAD: preload };
}

/** Peers on the processor; those that profit also with MKL made to use AVX-512. */
export function processorPeers(): PythonPeer[] {
  const library = avx512Library();
  const peers = (contender: string, supports: PythonPeer['supports']): PythonPeer[] => [
    { name: contender, contender, supports, environment: processorEnvironment },
    ...(library === undefined
      ? []
      : [
          {
            name: `${contender}, MKL AVX-512`,
            contender,
            supports,
            environment: (threads: number) => processorEnvironment(threads, library),
          },
        ]),
  ];
  const [plain, ...others] = peers('torch', supportsTorch);
  return [
    { ...plain, supports: supportsPlain, once: isFeedback },
    ...others,
    ...peers('torch compiled', supportsGraph),
    { name: 'numpy', contender: 'numpy', supports: supportsNumpy, environment: openBlasEnvironment },
    { name: 'transformers', contender: 'transformers', supports: supportsDelta, environment: processorEnvironment },
  ];
}

/** flash-linear-attention has every mixer of the suite of a card, in bfloat16 only. */
function supportsFla(problem: Problem): boolean {
  if (problem.kind === 'languageModel') return problem.precision === 'medium' || problem.dtype === 'bfloat16';
  return problem.kind === 'sequence' || problem.kind === 'step';
}

/** Peers on the card, with the modules of Python that they need. */
export const cardPeers: readonly (PythonPeer & { modules: readonly string[] })[] = [
  { name: 'torch', supports: supportsPlain, once: isFeedback, modules: ['torch'] },
  { name: 'fla bfloat16', supports: supportsFla, modules: ['torch', 'fla'] },
].map((peer) => ({ ...peer, contender: peer.name, environment: () => process.env }));

/** Why modules that peers on a card need are not there, with the remedy. */
export function missingModules(python: string): Record<string, string> {
  const script =
    'import importlib.util as u, json\n' +
    'cuda = bool(u.find_spec("torch")) and __import__("torch").cuda.is_available()\n' +
    'print(json.dumps({"torch": cuda, "fla": bool(u.find_spec("fla"))}))';
  const { status, stdout, stderr, error } = spawnSync(python, ['-c', script], { encoding: 'utf8' });
  if (status !== 0) return { torch: `${python} does not run: ${error?.message ?? stderr.trim()}` };
  const found = JSON.parse(stdout) as Record<string, boolean>;
  const remedies = {
    torch: 'no torch that finds a card; pip install torch',
    fla: 'not installed; pip install flash-linear-attention',
  };
  return Object.fromEntries(Object.entries(remedies).filter(([module]) => !found[module]));
}

export function pythonCommand(python: string, job: string): [string, string[]] {
  return [python, [SCRIPT, job]];
}
