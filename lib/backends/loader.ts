// Finds the native addons: a chain of places, each with the reason why it was passed over.
import {
  architecture,
  environment,
  existsSync,
  findModule,
  join,
  loadModule,
  packageFolder,
  processorModel,
  sep,
} from '../platform';
import { argumentError, describe, FastWeightsError } from '../core';
import { CpuBackend, type CpuAddon } from './cpu';
import { type CardFacts, CudaBackend, type CudaAddon } from './cuda';
import { checkSchema } from './native';

/** One step of the chain. */
export interface LoadAttempt {
  step: 'override' | 'local build' | 'cuda package' | 'emulation' | 'prebuild' | 'js';
  ok: boolean;
  /** Why the step was passed over. */
  reason?: string;
}

const attempts: LoadAttempt[] = [];
let cpu: CpuBackend | null | undefined;
let cuda: CudaBackend | null | undefined;
let emulation: CudaBackend | null = null;
let facts: CardFacts | null = null;
/** What the environment asks for and is not there. */
let unmet: FastWeightsError | null = null;

function packageRoot(): string {
  return packageFolder() ?? skip('no package.json of fast-weights above the library');
}

function openAddon(path: string): CpuBackend {
  const addon = loadModule(path) as CpuAddon;
  checkSchema(addon);
  const set = environment('FAST_WEIGHTS_ISA');
  if (set !== undefined && !addon.instructionSets.includes(set)) {
    throw (unmet = wishError('FAST_WEIGHTS_ISA', addon.instructionSets.map(describe).join(' | '), describe(set)));
  }
  return new CpuBackend(addon, processorName(), set);
}

function wishError(variable: string, expected: string, found: string): FastWeightsError {
  return argumentError('INVALID_ARGUMENT', 'environment', variable, expected, found);
}

/** Linux on ARM tells no model of its processors. */
export function processorName(): string {
  const model = processorModel();
  return model === '' || model === 'unknown' ? architecture : model;
}

function skip(reason: string): never {
  throw new FastWeightsError('BACKEND', reason);
}

function openOverride(): CpuBackend {
  return openAddon(environment('FAST_WEIGHTS_NATIVE_PATH') ?? skip('FAST_WEIGHTS_NATIVE_PATH is not set'));
}

function openLocalBuild(): CpuBackend {
  const { path, local } = findBinary();
  return openAddon(local ? path : skip('build/Release has no addon; `npm run build:native` compiles one'));
}

function openPrebuild(): CpuBackend {
  const { path, local } = findBinary();
  return openAddon(local ? skip('build/Release stands before it; remove the folder build to use the prebuild') : path);
}

/** The binary that node-gyp-build prefers: one of build/Release if there is any, else the fitting prebuild. */
function findBinary(): { path: string; local: boolean } {
  const root = packageRoot();
  const { resolve } = loadModule('node-gyp-build') as { resolve: (dir: string) => string };
  const path = resolve(root);
  return { path, local: path.startsWith(join(root, 'build') + sep) };
}

const CUDA_PACKAGE = 'fast-weights-cuda-linux-x64';

/** What `npm run build:cuda` left in a clone, else the package. */
function openCuda(): CudaBackend {
  const local = join(packageRoot(), 'build-cuda', 'Release', 'fast_weights_cuda.node');
  if (existsSync(local)) return openCard(local, 'cuda');
  return openCard(findModule(CUDA_PACKAGE) ?? skip(`${CUDA_PACKAGE} is not installed`), 'cuda');
}

/** The emulated card: what `npm run build:emulation` made in a clone; FAST_WEIGHTS_EMULATION_BUILD names another folder. */
function openEmulation(): CudaBackend {
  const folder = environment('FAST_WEIGHTS_EMULATION_BUILD') ?? 'build-emulation';
  const path = join(packageRoot(), folder, 'fast_weights_emulation.node');
  return openCard(existsSync(path) ? path : skip('`npm run build:emulation` makes it in a clone'), 'cuda-emulation');
}

function openCard(path: string, device: 'cuda' | 'cuda-emulation'): CudaBackend {
  const addon = loadModule(path) as CudaAddon;
  checkSchema(addon);
  facts = addon.card();
  return facts.reason ? skip(facts.reason) : new CudaBackend(addon, device, facts);
}

function attempt<B>(step: LoadAttempt['step'], open: () => B): B | null {
  try {
    const backend = open();
    attempts.push({ step, ok: true });
    return backend;
  } catch (error) {
    // Node adds who asked for the file, line by line.
    const reason = (error instanceof Error ? error.message : String(error)).split('\nRequire stack:')[0].trim();
    attempts.push({ step, ok: false, reason });
    return null;
  }
}

/** Runs the chain, once. */
function loadAll(): void {
  if (cpu !== undefined) return;
  cpu = attempt('override', openOverride);
  unmet ??= cpu ? null : unmetPath();
  if (!unmet) cpu ??= attempt('local build', openLocalBuild);
  cuda = attempt('cuda package', openCuda);
  // It shows itself only to those who ask for it by name.
  if (environment('FAST_WEIGHTS_DEVICE') === 'cuda-emulation') emulation = attempt('emulation', openEmulation);
  if (!unmet) cpu ??= attempt('prebuild', openPrebuild);
  unmet ??= cpu ? null : unmetInstructionSet();
  attempts.push({ step: 'js', ok: true });
}

/** What FAST_WEIGHTS_NATIVE_PATH names cannot be loaded. */
function unmetPath(): FastWeightsError | null {
  const path = environment('FAST_WEIGHTS_NATIVE_PATH');
  const reason = attempts.find(({ step }) => step === 'override')?.reason;
  return path === undefined
    ? null
    : wishError('FAST_WEIGHTS_NATIVE_PATH', 'a native addon of this version', `${describe(path)} (${reason})`);
}

/** FAST_WEIGHTS_ISA chooses among the sets of an addon, and there is none. */
function unmetInstructionSet(): FastWeightsError | null {
  const set = environment('FAST_WEIGHTS_ISA');
  return set === undefined
    ? null
    : wishError('FAST_WEIGHTS_ISA', 'left out where no native addon can be loaded', describe(set));
}

/** Why the environment's wish for a native addon or an instruction set is not met, or null. */
export function unmetWish(): FastWeightsError | null {
  loadAll();
  return unmet;
}

/** The native CPU backend, or null. */
export function cpuBackend(): CpuBackend | null {
  loadAll();
  return cpu!;
}

/** The backend of the graphics card, or null. */
export function cudaBackend(): CudaBackend | null {
  loadAll();
  return cuda!;
}

/** The backend of the emulated card, or null. */
export function emulationBackend(): CudaBackend | null {
  loadAll();
  return emulation;
}

/** What a CUDA addon says of the card, usable or not; null when none could be loaded. */
export function foundCard(): CardFacts | null {
  loadAll();
  return facts;
}

/** What the chain tried, in order. */
export function loadAttempts(): readonly LoadAttempt[] {
  loadAll();
  return attempts;
}
