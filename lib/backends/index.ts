// Devices: which there are, which is the default, and the backend of each.
import { environment } from '../platform';
import { argumentError, checkChoice, checkInteger, FastWeightsError, type Device } from '../core';
import type { Backend, DeviceInfo } from './backend';
import { createJsBackend } from './js';
import {
  cpuBackend,
  cudaBackend,
  emulationBackend,
  foundCard,
  loadAttempts,
  type LoadAttempt,
  lostInBundle,
  unmetWish,
} from './loader';
import type { CardFacts, ProductLibrary } from './cuda';
import type { MachineLimits } from './cpu';

export type { Backend, DeviceInfo } from './backend';
export { buildCommand, loadAttempts, processorName, unmetWish, type LoadAttempt } from './loader';
export type { CardFacts, MissingForCard, ProductLibrary } from './cuda';
export type { MachineLimits } from './cpu';
export type { Recording } from './recording';
export { numbersIn, placeInStep, QUANTIZED_PANEL, quantizedShape } from './quantizedLayout';
export * from './table';

const EMULATION = 'cuda-emulation';
const DEVICES: readonly Device[] = [
  ...(environment('FAST_WEIGHTS_DEVICE') === EMULATION ? ([EMULATION] as const) : []),
  'cuda',
  'cpu',
  'js',
];

let js: Backend | undefined;
let chosen: Device | undefined;

/** An explicit wish that cannot be met is an error of everything that would compute elsewhere in silence. */
function checkWish(): void {
  const unmet = unmetWish();
  if (unmet) throw unmet;
}

function find(device: Device): Backend | null {
  if (device !== 'js') checkWish();
  return look(device);
}

function look(device: Device): Backend | null {
  switch (device) {
    case 'js':
      return (js ??= createJsBackend());
    case 'cpu':
      return cpuBackend();
    case 'cuda':
      return cudaBackend();
    case EMULATION:
      return emulationBackend();
  }
}

/** Steps of the loader that make a device of their own. */
const STEPS: Partial<Record<Device, LoadAttempt['step']>> = { cuda: 'cuda package', [EMULATION]: 'emulation' };

/** Why a device is not there. */
function reasonFor(device: Device): string {
  const own = Object.values(STEPS);
  const failed = loadAttempts().filter(
    ({ ok, step }) => !ok && (STEPS[device] ? step === STEPS[device] : !own.includes(step)),
  );
  return failed.map(({ step, reason }) => `${step}: ${reason}`).join('; ');
}

/** The backend of a device; DEVICE with the reasons when it is not available. */
export function getBackend(device: Device): Backend {
  const backend = find(checkChoice('device', 'device', device, DEVICES));
  if (!backend) {
    throw new FastWeightsError('DEVICE', `the ${device} device is not available (${reasonFor(device)})`, {
      argument: 'device',
      expected: 'an available device',
      found: device,
    });
  }
  return backend;
}

/** What new tensors live on: what was set, else what the environment asks for, else the fastest there is. */
export function defaultDevice(): Device {
  return (chosen ??= deviceFromEnvironment() ?? fastestDevice());
}

function fastestDevice(): Device {
  const lost = lostInBundle();
  if (lost) throw lost;
  return DEVICES.find((device) => find(device) !== null) ?? 'js';
}

function deviceFromEnvironment(): Device | undefined {
  const value = environment('FAST_WEIGHTS_DEVICE');
  const card = environment('FAST_WEIGHTS_CUDA_DEVICE');
  if (!value && !card) return undefined;
  // Who names a card wants one.
  if (card && (!value || value === 'cuda')) return deviceOfCard(card);
  const device = DEVICES.find((known) => known === value);
  if (!device) {
    const expected = DEVICES.map((known) => `'${known}'`).join(' | ');
    throw argumentError('INVALID_ARGUMENT', 'environment', 'FAST_WEIGHTS_DEVICE', expected, JSON.stringify(value));
  }
  return getBackend(device).device;
}

function deviceOfCard(card: string): Device {
  const name = 'FAST_WEIGHTS_CUDA_DEVICE';
  if (!/^\d+$/.test(card)) {
    throw argumentError('INVALID_ARGUMENT', 'environment', name, 'the number of a card', JSON.stringify(card));
  }
  const backend = find('cuda');
  if (backend) return backend.device;
  throw new FastWeightsError('DEVICE', `${name}=${card} asks for a card that cannot be used (${reasonFor('cuda')})`, {
    argument: name,
    expected: 'the number of a card',
    found: card,
  });
}

/**
 * Sets where tensors made from now on live unless an option says otherwise; a DEVICE error where it is not available.
 */
export function setDefaultDevice(device: Device): void {
  chosen = getBackend(device).device;
}

/** Every device, available or not. */
export function devices(): DeviceInfo[] {
  checkWish();
  return inspectDevices();
}

/** The same whatever the environment asks for. */
export function inspectDevices(): DeviceInfo[] {
  return DEVICES.map((device) => {
    const backend = look(device);
    if (backend) return { device, available: true, name: backend.name };
    return { device, available: false, name: device, reason: reasonFor(device) };
  });
}

/** How many threads compute on the CPU, in the whole process; 1 means serial. Results do not depend on it. */
export function setNumThreads(n: number): void {
  checkInteger('setNumThreads', 'n', n, 1, 1024);
  checkWish();
  cpuBackend()?.setNumThreads(n);
}

/** Threads that compute on a device: those of the CPU, 1 of JavaScript; a card's own are not counted, and it gives 1. */
export function numThreads(device: Device): number {
  return device === 'cpu' ? (cpuBackend()?.numThreads() ?? 1) : 1;
}

/** Gives the memory that devices keep for reuse back to the system. Live tensors stay. */
export function trimMemory(): void {
  for (const device of DEVICES) look(device)?.trimMemory();
}

/** Measures the processor's limits on the compute threads, for the benchmarks; null without native kernels. */
export function machineLimits(copyBytes = 0, readBytes = 0): MachineLimits | null {
  return cpuBackend()?.measureLimits(copyBytes, readBytes) ?? null;
}

/** The graphics card, usable or not (then with the reason); null when no CUDA addon could be loaded. */
export function cardFacts(): (CardFacts & Partial<ProductLibrary> & { readonly free?: number }) | null {
  const facts = foundCard();
  const backend = emulationBackend() ?? cudaBackend();
  return facts && { ...facts, ...(backend && { free: backend.freeMemory(), ...backend.library() }) };
}
