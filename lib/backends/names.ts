// The names of devices: 'cuda:1' is the second card, 'cuda' the first.
import { environment } from '../platform';
import { argumentError, describe, type Device } from '../core';

/** Devices of which a machine may have several. */
export type CardDevice = 'cuda' | 'cuda-emulation';

/** What a name says: which device, and which of several. */
export interface DeviceName {
  readonly kind: CardDevice | 'cpu' | 'js';
  readonly card: number;
}

export const EMULATION = 'cuda-emulation';

/** The kinds of devices, the fastest first. The emulated card shows itself only to those who ask for it by name. */
export const KINDS: readonly DeviceName['kind'][] = [
  ...(environment('FAST_WEIGHTS_DEVICE')?.startsWith(EMULATION) ? ([EMULATION] as const) : []),
  'cuda',
  'cpu',
  'js',
];

export function isCard(kind: DeviceName['kind']): kind is CardDevice {
  return kind === 'cuda' || kind === EMULATION;
}

export function cardName(kind: CardDevice, card: number): Device {
  return card === 0 ? kind : `${kind}:${card}`;
}

/** Null for what names no device, of whatever machine. */
export function parseDevice(name: unknown): DeviceName | null {
  const [, kind, card] = (typeof name === 'string' && /^([a-z-]+)(?::(0|[1-9]\d{0,3}))?$/.exec(name)) || [];
  const known = KINDS.find((each) => each === kind);
  if (!known || (card !== undefined && !isCard(known))) return null;
  return { kind: known, card: Number(card ?? 0) };
}

/** Requires the name of a device, of this machine or another, and returns it as tensors print it: 'cuda:0' is 'cuda'. */
export function checkDevice(where: string, argument: string, name: unknown): Device {
  const parsed = parseDevice(name);
  if (parsed) return isCard(parsed.kind) ? cardName(parsed.kind, parsed.card) : parsed.kind;
  throw argumentError('INVALID_ARGUMENT', where, argument, expectedDevice(), describe(name));
}

/** For people. */
export function expectedDevice(): string {
  return KINDS.flatMap((kind) => (isCard(kind) ? [`'${kind}'`, `'${kind}:1' and on`] : [`'${kind}'`])).join(' | ');
}
