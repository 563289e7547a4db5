// Names of what a server makes: when, and so much chance that nobody guesses one.
import { randomHex } from '../platform';

/** `resp_` and a time that sorts, then random digits; lower case, as keys of stores may be. */
export function newId(kind: 'resp' | 'sess'): string {
  return `${kind}_${Date.now().toString(36).padStart(9, '0')}${randomHex(12)}`;
}

/** For what is not stored. */
export function passingId(kind: string): string {
  return `${kind}${randomHex(12)}`;
}

const STORED = /^(?:resp|sess)_([0-9a-z]{9})[0-9a-f]{24}$/;

export function isStoredId(id: string, kind: 'resp' | 'sess'): boolean {
  return STORED.test(id) && id.startsWith(kind);
}

/** When it was made, in seconds since 1970. */
export function createdAt(id: string): number {
  const time = STORED.exec(id)?.[1];
  return time === undefined ? 0 : Math.floor(parseInt(time, 36) / 1000);
}

export function now(): number {
  return Math.floor(Date.now() / 1000);
}
