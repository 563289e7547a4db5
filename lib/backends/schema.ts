// Whether an addon and this library are of one version: its number, the arguments of its kernels, and its functions.
import { FastWeightsError } from '../core';
import type { CpuAddon } from './cpu';
import type { CudaAddon } from './cuda';
import type { Addon } from './native';
import { KERNELS, type FieldKind, type KernelName } from './table';

/** What changes its meaning without changing a name is counted here and in native/kernels.h. */
const ABI = 6;

/** Every function of an addon, so that none is forgotten here. */
type Functions<A> = { [Name in keyof A as A[Name] extends (...args: never[]) => unknown ? Name : never]: true };

const COMMON: Functions<Addon> = {
  allocate: true,
  free: true,
  write: true,
  read: true,
  readAsync: true,
  synchronize: true,
  submit: true,
  keepCalls: true,
  repeatCalls: true,
  forgetCalls: true,
  trim: true,
  settle: true,
  reportExternal: true,
  memoryUsage: true,
};

const CPU: Functions<CpuAddon> = {
  ...COMMON,
  instructionSet: true,
  useInstructionSet: true,
  setNumThreads: true,
  numThreads: true,
  peakFlops: true,
  copyBandwidth: true,
  readBandwidth: true,
};

const CUDA: Functions<CudaAddon> = {
  ...COMMON,
  library: true,
  useCublas: true,
  copyFrom: true,
  cards: true,
  card: true,
  open: true,
};

/** Refuses an addon that was built for another version; it is compared before it is used. */
export function checkCpuAddon(addon: unknown): asserts addon is CpuAddon {
  checkAddon(addon as Addon, CPU);
}

/** The same of one that finds cards. */
export function checkCudaAddon(addon: unknown): asserts addon is CudaAddon {
  checkAddon(addon as Addon, CUDA);
}

function checkAddon(addon: Addon, functions: { readonly [name: string]: true }): void {
  if (addon.abi !== ABI) differ(`ABI ${ABI}`, `ABI ${addon.abi}`);
  checkKernels(addon);
  for (const name of Object.keys(functions)) {
    if (typeof addon[name as keyof Addon] !== 'function') differ(`the function ${name}`, 'none of that name');
  }
}

function checkKernels({ kernels }: Addon): void {
  const names = Object.keys(KERNELS) as KernelName[];
  for (let i = 0; i < Math.max(names.length, kernels.length); i++) {
    const [name, found] = kernels[i] ?? ['no further kernel', []];
    if (name !== names[i]) differ(`kernel ${names[i] ?? 'no further kernel'}`, `kernel ${name}`);
    const expected = Object.entries<FieldKind>(KERNELS[names[i]]);
    for (let j = 0; j < Math.max(expected.length, found.length); j++) {
      const line = (field?: readonly [string, string]): string =>
        `${name}.${field ? `${field[0]}: ${field[1]}` : 'nothing'}`;
      if (line(expected[j]) !== line(found[j])) differ(line(expected[j]), line(found[j]));
    }
  }
}

function differ(expected: string, found: string): never {
  const message = `the native addon does not fit this version: expected ${expected}, found ${found}`;
  throw new FastWeightsError('BACKEND', message, { expected, found });
}
