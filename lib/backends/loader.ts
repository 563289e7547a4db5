// Finds the native addons: a chain of places, each with the reason why it was passed over.
import {
  architecture,
  bundleFile,
  dirname,
  environment,
  existsSync,
  findModule,
  join,
  loadModule,
  operatingSystem,
  packageFolder,
  processorModel,
  sep,
} from '../platform';
import { argumentError, describe, FastWeightsError } from '../core';
import { Cards } from './cards';
import { CpuBackend } from './cpu';
import { type CardDevice, EMULATION, KINDS } from './names';
import { checkCpuAddon, checkCudaAddon } from './schema';

/** One step of the chain. */
export interface LoadAttempt {
  step: 'override' | 'beside the bundle' | 'local build' | 'cuda package' | 'emulation' | 'prebuild' | 'js';
  ok: boolean;
  /** Why the step was passed over. */
  reason?: string;
}

/** The addon's name where a bundle has it to itself. */
const BESIDE = 'fast-weights.node';

const attempts: LoadAttempt[] = [];
let cpu: CpuBackend | null | undefined;
/** Of those CUDA addons that could be loaded and find a card. */
const cards: Partial<Record<CardDevice, Cards>> = {};
/** The last that could be loaded. */
let found: Cards | null = null;
/** What the environment asks for and is not there. */
let unmet: FastWeightsError | null = null;

function packageRoot(): string {
  return packageFolder() ?? skip(`fast-weights cannot be found from ${bundleFile()}`);
}

function openAddon(path: string): CpuBackend {
  const addon = loadModule(path);
  checkCpuAddon(addon);
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

/** A bundle's own copy of the addon, for where no node_modules are. */
function openBeside(bundle: string): CpuBackend {
  const path = join(dirname(bundle), BESIDE);
  return openAddon(existsSync(path) ? path : skip(`there is no ${path}`));
}

function openLocalBuild(): CpuBackend {
  const found = findBinary();
  return openAddon(found?.local ? found.path : skip(`build/Release has no addon; ${buildCommand()} compiles one`));
}

/** What compiles the native addon here: in a clone, or in an installed package, which lacks the tools for it. */
export function buildCommand(): string {
  const root = packageFolder();
  if (!root?.split(sep).includes('node_modules')) return '`npm run build:native`';
  const script = join(root, 'scripts', 'build-native.mjs');
  const quoted = /\s/.test(script) ? `"${script}"` : script;
  return `\`npm install --no-save node-gyp@12 node-addon-api@8 && node ${quoted}\``;
}

function openPrebuild(): CpuBackend {
  const found = findBinary() ?? skip(`the package has no addon for ${operatingSystem}-${architecture}`);
  if (found.local) skip('build/Release stands before it; remove the folder build to use the prebuild');
  return openAddon(found.path);
}

/** The binary that node-gyp-build prefers: one of build/Release if there is any, else the fitting prebuild, or none. */
function findBinary(): { path: string; local: boolean } | null {
  const root = packageRoot();
  const { resolve } = loadModule('node-gyp-build', root) as { resolve: (dir: string) => string };
  try {
    const path = resolve(root);
    return { path, local: path.startsWith(join(root, 'build') + sep) };
  } catch {
    return null;
  }
}

const CUDA_PACKAGE = 'fast-weights-cuda-linux-x64';

/** What `npm run build:cuda` left in a clone, else the package. */
function openCuda(): Cards {
  const root = packageFolder();
  const local = root && join(root, 'build-cuda', 'Release', 'fast_weights_cuda.node');
  if (local && existsSync(local)) return openCards(local, 'cuda');
  return openCards(findModule(CUDA_PACKAGE) ?? skip(`${CUDA_PACKAGE} is not installed`), 'cuda');
}

/** The emulated card: what `npm run build:emulation` made in a clone; FAST_WEIGHTS_EMULATION_BUILD names another folder. */
function openEmulation(): Cards {
  const folder = environment('FAST_WEIGHTS_EMULATION_BUILD') ?? 'build-emulation';
  const path = join(packageRoot(), folder, 'fast_weights_emulation.node');
  return openCards(existsSync(path) ? path : skip('`npm run build:emulation` makes it in a clone'), EMULATION);
}

function openCards(path: string, kind: CardDevice): Cards {
  const addon = loadModule(path);
  checkCudaAddon(addon);
  found = new Cards(addon, kind);
  return found.reason === undefined ? (cards[kind] = found) : skip(found.reason);
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
  const bundle = bundleFile();
  if (bundle && !unmet) cpu ??= attempt('beside the bundle', () => openBeside(bundle));
  if (!unmet) cpu ??= attempt('local build', openLocalBuild);
  attempt('cuda package', openCuda);
  if (KINDS.includes(EMULATION)) attempt('emulation', openEmulation);
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

/** Of a bundle that finds no native device: it would compute in JavaScript where nobody asked for that. */
export function lostInBundle(): FastWeightsError | null {
  loadAll();
  const bundle = bundleFile();
  if (!bundle || cpu || cards.cuda?.backend(0)) return null;
  const reasons = attempts.flatMap(({ ok, step, reason }) => (ok ? [] : [`${step}: ${reason}`])).join('; ');
  const remedy = `leave it out of the bundle (esbuild --external:fast-weights) and install it there, put its addon beside the bundle as ${BESIDE}, or ask for the js device (FAST_WEIGHTS_DEVICE=js)`;
  return new FastWeightsError(
    'BACKEND',
    `fast-weights is part of ${bundle} and finds no native addon: ${remedy} (${reasons})`,
    {
      expected: 'a native addon',
      found: reasons,
    },
  );
}

/** The native CPU backend, or null. */
export function cpuBackend(): CpuBackend | null {
  loadAll();
  return cpu!;
}

/** The cards of an addon that finds one, or null. */
export function cardsOf(kind: CardDevice): Cards | null {
  loadAll();
  return cards[kind] ?? null;
}

/** What a CUDA addon finds, usable or not; null when none could be loaded. */
export function foundCards(): Cards | null {
  loadAll();
  return found;
}

/** What the chain tried, in order. */
export function loadAttempts(): readonly LoadAttempt[] {
  loadAll();
  return attempts;
}
