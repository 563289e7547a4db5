// Finds the native addon: a chain of places, each with the reason why it was passed over.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { cpus } from 'node:os';
import { dirname, join, sep } from 'node:path';
import { FastWeightsError } from '../core';
import { createNativeBackend, type Addon, type NativeBackend } from './native';

/** One step of the chain. */
export interface LoadAttempt {
  step: 'override' | 'local build' | 'cuda package' | 'prebuild' | 'js';
  ok: boolean;
  /** Why the step was passed over. */
  reason?: string;
}

const load = createRequire(__filename);
const attempts: LoadAttempt[] = [];
let loaded: NativeBackend | null | undefined;

/** The nearest folder upwards with our package.json: the same from the compiled files and from the sources. */
function packageRoot(): string {
  for (let dir = __dirname; dir !== dirname(dir); dir = dirname(dir)) {
    if (packageName(dir) === 'fast-weights') return dir;
  }
  throw new FastWeightsError('BACKEND', `no package.json of fast-weights above ${__dirname}`);
}

function packageName(dir: string): unknown {
  try {
    return (JSON.parse(readFileSync(join(dir, 'package.json'), 'utf8')) as { name?: unknown }).name;
  } catch {
    return undefined;
  }
}

function openAddon(path: string): NativeBackend {
  return createNativeBackend(load(path) as Addon, processorName(), process.env.FAST_WEIGHTS_ISA);
}

/** Linux on ARM tells no model of its processors. */
export function processorName(): string {
  const model = cpus()[0]?.model.trim() ?? '';
  return model === '' || model === 'unknown' ? process.arch : model;
}

function skip(reason: string): never {
  throw new FastWeightsError('BACKEND', reason);
}

function openOverride(): NativeBackend {
  return openAddon(process.env.FAST_WEIGHTS_NATIVE_PATH || skip('FAST_WEIGHTS_NATIVE_PATH is not set'));
}

function openLocalBuild(): NativeBackend {
  const { path, local } = findBinary();
  return openAddon(local ? path : skip('build/Release has no addon; `npm run build:native` compiles one'));
}

function openPrebuild(): NativeBackend {
  const { path, local } = findBinary();
  return openAddon(local ? skip('build/Release stands before it; remove the folder build to use the prebuild') : path);
}

/** The binary that node-gyp-build prefers: one of build/Release if there is any, else the fitting prebuild. */
function findBinary(): { path: string; local: boolean } {
  const root = packageRoot();
  const { resolve } = load('node-gyp-build') as { resolve: (dir: string) => string };
  const path = resolve(root);
  return { path, local: path.startsWith(join(root, 'build') + sep) };
}

function attempt(step: LoadAttempt['step'], open: () => NativeBackend): NativeBackend | null {
  try {
    const backend = open();
    attempts.push({ step, ok: true });
    return backend;
  } catch (error) {
    const reason = error instanceof Error ? error.message.trim() : String(error);
    attempts.push({ step, ok: false, reason });
    return null;
  }
}

/** The native CPU backend, or null; the chain runs once, when it is first needed. */
export function nativeBackend(): NativeBackend | null {
  if (loaded !== undefined) return loaded;
  const cuda = (): NativeBackend => skip('fast-weights-cuda-linux-x64 is not installed');
  loaded = attempt('override', openOverride) ?? attempt('local build', openLocalBuild);
  attempt('cuda package', cuda);
  loaded ??= attempt('prebuild', openPrebuild);
  attempts.push({ step: 'js', ok: true });
  return loaded;
}

/** What the chain tried, in order. */
export function loadAttempts(): readonly LoadAttempt[] {
  nativeBackend();
  return attempts;
}
