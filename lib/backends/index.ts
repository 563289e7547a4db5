// Devices: which there are, which is the default, and the backend of each.
import { environment } from '../platform';
import { argumentError, checkInteger, FastWeightsError, type Device } from '../core';
import type { Backend, DeviceInfo } from './backend';
import type { CardFacts, ProductLibrary } from './cuda';
import type { MachineLimits } from './cpu';
import { createJsBackend } from './js';
import { cardsOf, cpuBackend, foundCards, loadAttempts, type LoadAttempt, lostInBundle, unmetWish } from './loader';
import {
  type CardDevice,
  cardName,
  checkDevice,
  type DeviceName,
  EMULATION,
  isCard,
  KINDS,
  parseDevice,
} from './names';

export type { Backend, DeviceInfo } from './backend';
export { buildCommand, loadAttempts, processorName, unmetWish, type LoadAttempt } from './loader';
export type { CardFacts, MissingForCard, ProductLibrary } from './cuda';
export type { MachineLimits } from './cpu';
export type { Recording } from './recording';
export { checkDevice, expectedDevice, parseDevice } from './names';
export { numbersIn, placeInStep, QUANTIZED_PANEL, quantizedShape } from './quantizedLayout';
export * from './table';

let js: Backend | undefined;
let chosen: Device | undefined;
/** Those that were asked for and are there, by every name they were asked for by. */
const known = new Map<Device, Backend>();

/** An explicit wish that cannot be met is an error of everything that would compute elsewhere in silence. */
function checkWish(): void {
  const unmet = unmetWish();
  if (unmet) throw unmet;
}

function find(name: DeviceName): Backend | null {
  if (name.kind !== 'js') checkWish();
  return look(name);
}

function look({ kind, card }: DeviceName): Backend | null {
  switch (kind) {
    case 'js':
      return (js ??= createJsBackend());
    case 'cpu':
      return cpuBackend();
    default:
      return cardsOf(kind)?.backend(card) ?? null;
  }
}

/** Steps of the loader that make a device of their own. */
const STEPS: Record<CardDevice, LoadAttempt['step']> = { cuda: 'cuda package', [EMULATION]: 'emulation' };

/** Why a device is not there. */
function reasonFor({ kind, card }: DeviceName): string {
  const own: readonly string[] = Object.values(STEPS);
  const cards = isCard(kind) ? cardsOf(kind) : null;
  if (isCard(kind) && cards) {
    const facts = cards.facts();
    const names = facts.map((_, at) => cardName(kind, at)).join(', ');
    return `${STEPS[kind]}: ${facts[card] ? facts[card].reason : `the cards are ${names}`}`;
  }
  const failed = loadAttempts().filter(
    ({ ok, step }) => !ok && (isCard(kind) ? step === STEPS[kind] : !own.includes(step)),
  );
  return failed.map(({ step, reason }) => `${step}: ${reason}`).join('; ');
}

/** The backend of a device; DEVICE with the reasons when it is not available. */
export function getBackend(device: Device): Backend {
  const found = known.get(device);
  if (found) return found;
  const name = parseDevice(checkDevice('device', 'device', device))!;
  const backend = find(name);
  if (!backend) {
    throw new FastWeightsError('DEVICE', `the ${device} device is not available (${reasonFor(name)})`, {
      argument: 'device',
      expected: 'an available device',
      found: device,
    });
  }
  known.set(device, backend);
  return backend;
}

/** What new tensors live on: what was set, else what the environment asks for, else the fastest there is. */
export function defaultDevice(): Device {
  return (chosen ??= deviceFromEnvironment() ?? fastestDevice());
}

function fastestDevice(): Device {
  const lost = lostInBundle();
  if (lost) throw lost;
  for (const kind of KINDS) {
    const backend = find({ kind, card: 0 });
    if (backend) return backend.device;
  }
  return 'js';
}

function deviceFromEnvironment(): Device | undefined {
  const value = environment('FAST_WEIGHTS_DEVICE');
  const card = environment('FAST_WEIGHTS_CUDA_DEVICE');
  if (!value && !card) return undefined;
  // Who names a card wants one.
  if (card && (!value || value === 'cuda')) return deviceOfCard(card);
  return getBackend(checkDevice('environment', 'FAST_WEIGHTS_DEVICE', value)).device;
}

function deviceOfCard(card: string): Device {
  const name = 'FAST_WEIGHTS_CUDA_DEVICE';
  if (!/^\d+$/.test(card)) {
    throw argumentError('INVALID_ARGUMENT', 'environment', name, 'the number of a card', JSON.stringify(card));
  }
  const only: DeviceName = { kind: 'cuda', card: 0 };
  const backend = find(only);
  if (backend) return backend.device;
  throw new FastWeightsError('DEVICE', `${name}=${card} asks for a card that cannot be used (${reasonFor(only)})`, {
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

/**
 * Every device, available or not: each card that the driver lists as one. Cards that are not in use, beside the first, are
 * not asked for a context, which takes some of their memory: one may still refuse when it is first used.
 */
export function devices(): DeviceInfo[] {
  checkWish();
  return inspectDevices();
}

/** The same whatever the environment asks for. */
export function inspectDevices(): DeviceInfo[] {
  return KINDS.flatMap((kind) => [inspect({ kind, card: 0 }), ...(isCard(kind) ? furtherCards(kind) : [])]);
}

function inspect(name: DeviceName): DeviceInfo {
  const device = name.kind;
  const backend = look(name);
  if (backend) return { device, available: true, name: backend.name };
  return { device, available: false, name: device, reason: reasonFor(name) };
}

function furtherCards(kind: CardDevice): DeviceInfo[] {
  const facts = cardsOf(kind)?.facts() ?? [];
  return facts.slice(1).map(({ name, capability, reason }, i) => ({
    device: cardName(kind, i + 1),
    available: reason === undefined,
    name: `${name} (compute capability ${capability})`,
    ...(reason !== undefined && { reason }),
  }));
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
  cpuBackend()?.trimMemory();
  for (const kind of KINDS)
    if (isCard(kind))
      cardsOf(kind)
        ?.backends()
        .forEach((card) => card.trimMemory());
}

/** Measures the processor's limits on the compute threads, for the benchmarks; null without native kernels. */
export function machineLimits(copyBytes = 0, readBytes = 0): MachineLimits | null {
  return cpuBackend()?.measureLimits(copyBytes, readBytes) ?? null;
}

/**
 * The first graphics card, usable or not (then with the reason), what is free of its memory and what multiplies matrices;
 * null when no CUDA addon could be loaded.
 */
export function cardFacts(): (CardFacts & Partial<ProductLibrary> & { readonly free?: number }) | null {
  const cards = foundCards();
  const backend = cards?.reason === undefined ? cards?.backend(0) : null;
  return cards && { ...cards.facts()[0], ...(backend && { free: backend.freeMemory(), ...backend.library() }) };
}
