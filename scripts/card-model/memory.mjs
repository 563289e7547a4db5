// What accesses to memory cost: passes of shared memory, sectors of 32 bytes of global memory and which of them the
// first-level cache has, by the addresses that the lanes of a warp give.
import { FACTS, valueOf } from './constants.mjs';
import { LANES } from './registers.mjs';

const facts = valueOf(FACTS);
export const SECTOR = 32;
const LINE = facts.sharedWidth;
const BANKS = 32;
/** Sizes that shared memory can take of the memory it has in common with the first-level cache. */
const CARVEOUTS = [0, 8, 16, 32, 64, 100, 132, 164, 196, 228].map((kib) => kib << 10);

// The words that an access takes from each bank.
const words = new Float64Array(BANKS * LANES);
const taken = new Int32Array(BANKS);

/**
 * Passes of shared memory for the lanes of a mask: 4 bytes of every bank at a time, the same word for all who want it. Accesses of
 * 8 and 16 bytes are served for half and a quarter of the warp at a time. Lanes whose address is not known meet no other.
 */
export function passesOf(addresses, known, mask, bytes) {
  const together = bytes <= 4 ? LANES : LINE / bytes;
  const each = Math.max(1, bytes / 4);
  let passes = 0;
  for (let from = 0; from < LANES; from += together) {
    let most = 0;
    let any = false;
    taken.fill(0);
    for (let l = from; l < from + together; l++) {
      if (!((mask >>> l) & 1)) continue;
      any = true;
      if (!((known >>> l) & 1)) continue;
      const first = Math.floor(addresses[l] / 4);
      for (let w = first; w < first + each; w++) {
        const bank = w % BANKS;
        let i = 0;
        while (i < taken[bank] && words[bank * LANES + i] !== w) i++;
        if (i < taken[bank]) continue;
        words[bank * LANES + i] = w;
        if (++taken[bank] > most) most = taken[bank];
      }
    }
    if (any) passes += Math.max(1, most);
  }
  return passes;
}

/** The sectors that a block has used last: what its share of the first-level cache holds. */
export class FirstLevel {
  constructor(sharedBytes, blocksAtOnce) {
    const shared = (sharedBytes + facts.sharedReserved) * blocksAtOnce;
    const carved = CARVEOUTS.find((size) => size >= shared) ?? facts.sharedBytes;
    this.room = Math.max(1, Math.floor((facts.unifiedBytes - carved) / SECTOR / blocksAtOnce));
    this.sectors = new Map();
  }

  /** When a sector that is there came or will come, or undefined; from now on it is there, by `arrival` at the latest. */
  touch(sector, arrival) {
    const { sectors } = this;
    const before = sectors.get(sector);
    if (before !== undefined) sectors.delete(sector);
    sectors.set(sector, before ?? arrival);
    if (sectors.size > this.room) sectors.delete(sectors.keys().next().value);
    return before;
  }
}

const found = new Float64Array(4 * LANES);
/** The different sectors of an access, and how many lines they lie in; a lane whose address is not known has its own. */
export function sectorsOf(addresses, known, mask) {
  let used = 0;
  let unknown = 0;
  let lines = 0;
  for (let l = 0; l < LANES; l++) {
    if (!((mask >>> l) & 1)) continue;
    if (!((known >>> l) & 1)) {
      unknown++;
      continue;
    }
    const sector = Math.floor(addresses[l] / SECTOR);
    let seen = false;
    let sameLine = false;
    for (let i = used - 1; i >= 0 && !seen; i--) {
      seen = found[i] === sector;
      sameLine ||= Math.floor(found[i] / 4) === Math.floor(sector / 4);
    }
    if (seen) continue;
    found[used++] = sector;
    if (!sameLine) lines++;
  }
  return {
    sectors: found.subarray(0, used),
    unknown,
    lines: Math.max(lines + unknown, Math.ceil((used * SECTOR) / LINE)),
  };
}
