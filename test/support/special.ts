// Comparing numbers that have no neighbours: NaN, infinities and zeros with their signs.
import { expect } from 'chai';

/** Quiet and signalling NaN of both signs, with the most and the fewest bits of payload. */
export const NANS = new Float32Array(
  new Uint32Array([0x7fc00000, 0xffc00000, 0x7fc00001, 0x7fffffff, 0xffffffff, 0x7f800001, 0xff800001, 0x7fa00000])
    .buffer,
);
/** A NaN of its own bits, which an array of JavaScript numbers may lose. */
export function withNans(data: Float32Array): Float32Array {
  const all = new Float32Array(data.length + NANS.length);
  all.set(data);
  new Uint8Array(all.buffer).set(new Uint8Array(NANS.buffer), data.byteLength);
  return all;
}

/** Equal, NaN both, or close; a result among the smallest numbers may be 0. */
export function expectSame(what: string, found: number, expected: number, signed = false): void {
  const r = Math.fround(expected);
  if (Number.isNaN(r)) return void expect(found, what).to.satisfy(Number.isNaN);
  if (r === 0 && signed) return void expect(Object.is(found, r), `${what}: the sign of a zero`).to.equal(true);
  if (found === r || Math.fround(found) === r) return;
  expect(Math.abs(found - r), `${what}: ${found} instead of ${r}`).to.be.at.most(1e-5 * Math.abs(r) + 1e-36);
}
